#!/usr/bin/env python3
"""The page of a running daemon in headless Chromium: what it shows, how it fits, and what it refuses to run.

usage: check.py STANDPIPE [DIRECTORY for screenshots]
"""

import base64
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

STANDPIPE = str(pathlib.Path(sys.argv[1]).resolve())
SHOTS = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
PATIENCE = 60
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
EVIL = "<img src=x onerror=document.title='hacked'>"


def eventually(what, look):
    """What `look` finds, once it does."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"never: {what}")


class Chromium:
    """A browser, spoken to through a pipe in the DevTools protocol."""

    def __init__(self, program, directory):
        to_read, self.to = os.pipe()
        self.back, back_write = os.pipe()

        def wire():
            # Above both, so that neither is overwritten before it is copied.
            first, second = os.dup(to_read), os.dup(back_write)
            os.dup2(first, 3)
            os.dup2(second, 4)

        command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                   "--no-proxy-server", "--no-first-run", "--remote-debugging-pipe", f"--user-data-dir={directory}"]
        self.process = subprocess.Popen(command, preexec_fn=wire, close_fds=False,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(back_write)
        self.number, self.answers, self.events = 0, {}, []
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        buffer = b""
        while chunk := os.read(self.back, 1 << 16):
            buffer += chunk
            *messages, buffer = buffer.split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    self.answers[message["id"]] = message
                else:
                    self.events.append(message)

    def call(self, method, session=None, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        number = self.number
        answer = eventually(f"an answer to {method}", lambda: self.answers.pop(number, None))
        assert "error" not in answer, f"{method}: {answer}"
        return answer["result"]

    def stop(self):
        self.process.kill()
        self.process.wait()


class Page:
    """One page at a size and with a colour scheme."""

    def __init__(self, browser, url, size, scheme):
        self.browser, self.url = browser, url
        self.target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.call("Target.attachToTarget", targetId=self.target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")
        width, height = SIZES[size]
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=size == "phone")
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=url)
        eventually("the page to be drawn", lambda: self.run("document.querySelector('#files table') !== null"))

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def run(self, script):
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def text(self):
        return self.run("document.body.innerText")

    def waits_for(self, words):
        eventually(f"{words!r} on the page", lambda: words in self.text())

    def events(self, *methods):
        own = [event for event in self.browser.events if event.get("sessionId") == self.session]
        return [event["params"] for event in own if event["method"] in methods]

    def is_sound(self):
        """Nothing that a script or the policy complains of, nothing from elsewhere, nothing wider than the window."""
        complaints = self.events("Log.entryAdded", "Runtime.exceptionThrown")
        assert not complaints, complaints
        origin = self.url.rstrip("/")
        asked = [event["request"]["url"] for event in self.events("Network.requestWillBeSent")]
        assert all(url.startswith((origin, "about:")) for url in asked), asked
        wide = self.run("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{wide} pixels wider than the window"
        assert "hacked" not in self.run("document.title")
        assert self.run("document.images.length") == 0

    def can_be_heard(self):
        """What a screen reader needs: landmarks, headings, names of controls and pictures, heads of tables."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        role = lambda node: node.get("role", {}).get("value")
        roles = {role(node) for node in nodes}
        assert {"main", "heading", "banner", "contentinfo", "status"} <= roles, roles
        for node in nodes:
            if role(node) in ("button", "link", "searchbox", "textbox", "image", "progressbar", "table"):
                assert node.get("name", {}).get("value"), f"a {role(node)} without a name: {node}"
        # From the keyboard: the field and each link.
        reached = []
        for _ in range(6):
            self.call("Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
            self.call("Input.dispatchKeyEvent", type="keyUp", key="Tab", code="Tab", windowsVirtualKeyCode=9)
            reached.append(self.run("document.activeElement.id || document.activeElement.getAttribute('href')"))
        assert {"filter", "status", "metrics"} <= set(reached), reached

    def shot(self, name):
        if SHOTS:
            SHOTS.mkdir(parents=True, exist_ok=True)
            picture = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
            (SHOTS / f"{name}.png").write_bytes(base64.b64decode(picture))

    def close(self):
        self.browser.call("Target.closeTarget", targetId=self.target)


class World:
    """A service, and a daemon that ships to it."""

    def __init__(self, files, *options):
        self.directory = pathlib.Path(tempfile.mkdtemp())
        self.logs = self.directory / "logs"
        self.logs.mkdir()
        for number in range(files):
            (self.logs / f"{number:03}.log").write_text("a line\n" * 20)
        environment = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret", "PATH": os.environ["PATH"]}
        listen = ["--listen", "127.0.0.1:0", "--dir", str(self.directory / "out")]
        self.service = subprocess.Popen([STANDPIPE, "local", *listen, *options], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.endpoint = self.service.stdout.readline().strip()
        config = self.directory / "standpipe.toml"
        config.write_text(
            f'state_dir = "{self.directory}/state"\n[aws]\nregion = "us-east-1"\nendpoint_url = "{self.endpoint}"\n'
            f'[[source]]\nname = "app <b>{EVIL}</b>"\npaths = ["{self.logs}/*.log"]\nstream = "app-logs"\n'
            '[health]\nlisten = "127.0.0.1:0"\n[shutdown]\ntimeout = "100ms"\n'
        )
        log = open(self.directory / "log", "w+")
        self.daemon = subprocess.Popen([STANDPIPE, "run", "-c", config], env=environment,
                                       stdout=subprocess.DEVNULL, stderr=log)
        said = lambda: re.search(r'health endpoint listens","address":"([^"]+)"', (self.directory / "log").read_text())
        self.url = f"http://{eventually('the health endpoint', said)[1]}/"

    def fault(self, plan):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(self.endpoint + "/_standpipe/faults", json.dumps(plan).encode()).read()

    def stop(self):
        for process in (self.daemon, self.service):
            process.terminate()
            process.wait()
        shutil.rmtree(self.directory)


def each(browser, world, name, look):
    """Looks at the page at each size, in both colour schemes."""
    for size in SIZES:
        for scheme in ("light", "dark"):
            page = Page(browser, world.url, size, scheme)
            look(page)
            page.is_sound()
            page.shot(f"{name}-{size}-{scheme}")
            page.close()


def healthy(browser):
    world = World(3)

    def look(page):
        page.waits_for("3 of 3 files")
        page.waits_for("app-logs")
        eventually("it to be ready", lambda: page.run("document.getElementById('state').textContent") == "ready")
        page.can_be_heard()
        # It goes on by itself.
        before = (world.logs / "000.log").stat().st_size
        with open(world.logs / "000.log", "a") as log:
            log.write("more\n" * 2_000)
        eventually("the file to grow on the page", lambda: page.run(
            f"latest.files.some((file) => file.size > {before} && file.acknowledged === file.size)"))

    each(browser, world, "healthy", look)
    world.stop()


def many_files(browser):
    world = World(500)

    def look(page):
        page.waits_for("500 of 500 files")
        page.run("const field = document.getElementById('filter'); field.value = '42'; "
                 "field.dispatchEvent(new Event('input')); 1")
        page.waits_for("of 500 files")
        expected = sum("42" in str(path) for path in world.logs.iterdir())
        assert f"{expected} of 500 files" in page.text()

    each(browser, world, "many-files", look)
    world.stop()


def throttled(browser):
    world = World(3, "--quota-requests", "5")

    def look(page):
        page.waits_for("slowed to")
        page.waits_for("ServiceUnavailableException")
        page.waits_for("What to do")

    each(browser, world, "throttled", look)
    world.stop()


def broken(browser):
    world = World(3)
    world.fault({"rates": {"not_found": 1.0}})
    with open(world.logs / "000.log", "a") as log:
        log.write("stuck\n" * 100)

    def look(page):
        page.waits_for("not ready")
        page.waits_for("ResourceNotFoundException")
        page.waits_for("create the delivery stream")

    each(browser, world, "broken", look)
    world.stop()


def names_are_text(browser):
    world = World(1)
    evil = world.logs / f"{EVIL}.log".replace("/", "")
    evil.write_text("line\n")

    def look(page):
        page.waits_for(f"{EVIL}.log")
        page.waits_for(f"app <b>{EVIL}</b>")

    each(browser, world, "names", look)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    policy = opener.open(world.url).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy, policy
    assert "unsafe" not in re.sub(r"style-src[^;]*", "", policy), policy
    world.stop()


def main():
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not program:
        print("skipped: there is no Chromium on this machine")
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Chromium(program, profile)
        for check in (healthy, many_files, throttled, broken, names_are_text):
            check(browser)
            print(f"{check.__name__} ok", flush=True)
        browser.stop()


main()
