#!/usr/bin/env python3
"""The page of a running daemon in headless Chromium: what it shows, how it fits, and what it refuses to run.

usage: check.py STANDPIPE [DIRECTORY for screenshots [CHECK...]]

In DIRECTORY is also, of each state, what docs/images has: page-STATE.webp.
"""

import base64
import http.client
import http.server
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
PATIENCE = 180
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
        self.browser, self.url, self.size, self.scheme = browser, url, size, scheme
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
        eventually("the page to be drawn", lambda: self.run("typeof latest !== 'undefined' && latest !== null && listed !== null"))

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
        # A phone's window grows with what is too wide for it.
        wide = self.run("document.documentElement.scrollWidth") - SIZES[self.size][0]
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
        for _ in range(60):
            self.press("Tab", 9)
            reached.append(self.run("document.activeElement.id || document.activeElement.getAttribute('href') "
                                    "|| document.activeElement.getAttribute('role') || document.activeElement.textContent"))
            if reached[-1] == "history":
                break
        assert {"#main", "filter", "status", "metrics", "group"} <= set(reached), reached
        assert any(name and "app-logs" in name for name in reached), reached

    def press(self, key, code):
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    def shot(self, name):
        if SHOTS:
            SHOTS.mkdir(parents=True, exist_ok=True)
            picture = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
            (SHOTS / f"{name}.png").write_bytes(base64.b64decode(picture))

    def close(self):
        self.browser.call("Target.closeTarget", targetId=self.target)


class Poisoned(http.server.BaseHTTPRequestHandler):
    """Hands requests on to a service, which fails where a certain record is in them."""
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.poison in body:
            code, answer = 500, b'{"__type":"InternalFailure","message":"this record is too much"}'
        else:
            service = http.client.HTTPConnection(self.server.service)
            service.request("POST", self.path, body, {name: value for name, value in self.headers.items() if name != "Host"})
            answered = service.getresponse()
            code, answer = answered.status, answered.read()
            service.close()
        self.send_response(code)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class World:
    """A service, and a daemon that ships to it."""

    def __init__(self, files, *options, more="", poison=None):
        self.directory = pathlib.Path(tempfile.mkdtemp())
        self.logs = self.directory / "logs"
        self.logs.mkdir()
        for number in range(files):
            (self.logs / f"{number:03}.log").write_text("a line\n" * 20)
        listen = ["--listen", "127.0.0.1:0", "--dir", str(self.directory / "out")]
        self.service = subprocess.Popen([STANDPIPE, "local", *listen, *options], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.endpoint = self.service.stdout.readline().strip()
        self.more, self.address, self.between = more, "127.0.0.1:0", None
        if poison:
            self.between = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Poisoned)
            self.between.poison, self.between.service = base64.b64encode(poison), self.endpoint.removeprefix("http://")
            threading.Thread(target=self.between.serve_forever, daemon=True).start()
            self.endpoint = f"http://127.0.0.1:{self.between.server_port}"
        self.start_daemon()

    def start_daemon(self):
        environment = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret", "PATH": os.environ["PATH"]}
        config = self.directory / "standpipe.toml"
        config.write_text(
            f'state_dir = "{self.directory}/state"\n[aws]\nregion = "us-east-1"\nendpoint_url = "{self.endpoint}"\n'
            f'[[source]]\nname = "app <b>{EVIL}</b>"\npaths = ["{self.logs}/*.log"]\nstream = "app-logs"\n{self.more}'
            f'[health]\nlisten = "{self.address}"\n[shutdown]\ntimeout = "100ms"\n'
        )
        with open(self.directory / "log", "w") as log:
            self.daemon = subprocess.Popen([STANDPIPE, "run", "-c", config], env=environment,
                                           stdout=subprocess.DEVNULL, stderr=log)
        said = lambda: re.search(r'health endpoint listens","address":"([^"]+)"', (self.directory / "log").read_text())
        self.address = eventually("the health endpoint", said)[1]
        self.url = f"http://{self.address}/"

    def end_daemon(self):
        self.daemon.terminate()
        self.daemon.wait()

    def get(self, path):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return opener.open(self.url + path).read()

    def status(self):
        return json.loads(self.get("status"))

    def fault(self, plan):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(self.endpoint + "/_standpipe/faults", json.dumps(plan).encode()).read()

    def stop(self):
        for process in (self.daemon, self.service):
            process.terminate()
            process.wait()
        if self.between:
            self.between.shutdown()
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


def sheets(browser):
    """Of each state one picture: at each size, in both colour schemes."""
    for first in sorted(SHOTS.glob("*-desktop-light.png")):
        name = first.name.removesuffix("-desktop-light.png")
        paths = [SHOTS / f"{name}-{size}-{scheme}.png" for size in SIZES for scheme in ("light", "dark")]
        if not all(path.is_file() for path in paths):
            continue
        pictures = "".join(
            f'<img width="{(840 if "desktop" in path.name else 330)}" src="data:image/png;base64,'
            f'{base64.b64encode(path.read_bytes()).decode()}">' for path in paths)
        page = browser.call("Target.createTarget", url="about:blank")["targetId"]
        session = browser.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        browser.call("Emulation.setDeviceMetricsOverride", session, width=2400, height=400, deviceScaleFactor=1, mobile=False)
        frame = browser.call("Page.getFrameTree", session)["frameTree"]["frame"]["id"]
        style = "margin:10px;display:flex;gap:10px;align-items:start;background:#888"
        browser.call("Page.setDocumentContent", session, frameId=frame, html=f'<body style="{style}">{pictures}')
        drawn = "[...document.images].every((image) => image.complete)"
        eventually("the pictures", lambda: browser.call("Runtime.evaluate", session, expression=drawn)["result"]["value"])
        sheet = browser.call("Page.captureScreenshot", session, captureBeyondViewport=True, format="webp", quality=70)["data"]
        (SHOTS / f"page-{name}.webp").write_bytes(base64.b64decode(sheet))
        browser.call("Target.closeTarget", targetId=page)


def healthy(browser):
    world = World(3)

    def look(page):
        page.waits_for("1–3 of 3 files")
        page.waits_for("app-logs")
        eventually("it to be ready", lambda: page.run("document.getElementById('state').textContent") == "ready")
        page.can_be_heard()
        # It goes on by itself.
        before = (world.logs / "000.log").stat().st_size
        with open(world.logs / "000.log", "a") as log:
            log.write("more\n" * 2_000)
        eventually("the file to grow on the page", lambda: page.run(
            f"listed.files.some((file) => file.size > {before} && file.acknowledged === file.size)"))
        # One stream is open from the start, and its chart has values for pointer and keyboard.
        eventually("a curve", lambda: page.run("document.querySelectorAll('.chart path.curve').length") == 3)
        page.waits_for("S started")
        page.run("document.querySelector('.chart').focus(); 1")
        page.press("ArrowLeft", 37)
        page.waits_for(" requests/s, ")
        eventually("a state with words", lambda: page.run("latest.streams[0].state") in ("sending", "idle"))
        page.waits_for("the daemon began")
        page.run("document.getElementById('config').open = true; 1")
        page.waits_for("state directory")
        page.waits_for("stream app-logs")

    each(browser, world, "healthy", look)
    sending(browser, world)
    world.stop()


def sending(browser, world):
    """A stream that delivers is said to be sending at every look, and its rates are as sent."""
    page = Page(browser, world.url, "desktop", "light")
    stop = threading.Event()

    def write():
        while not stop.is_set():
            with open(world.logs / "001.log", "a") as log:
                log.write("line of twenty bytes\n" * 2)
            time.sleep(0.05)

    eventually("all that was there to be delivered", lambda: world.status()["streams"][0]["lag_bytes"] == 0)
    writer = threading.Thread(target=write)
    writer.start()
    eventually("the first of it", lambda: world.status()["streams"][0]["state"] == "sending")
    for _ in range(40):
        stream = world.status()["streams"][0]
        assert stream["state"] == "sending", stream
        time.sleep(0.05)
    rate = eventually("a rate", lambda: world.status()["streams"][0]["rate"]
                      if world.status()["streams"][0]["rate"]["records"] > 5 else None)
    assert abs(rate["bytes"] / rate["records"] - 21) < 0.01, rate
    page.waits_for("sending")
    page.shot("sending-desktop-light")
    stop.set()
    writer.join()
    page.close()


def many_files(browser):
    world = World(500)

    def look(page):
        size = page.run("pageSize()")
        page.waits_for(f"1–{size} of 500 files")
        assert page.run("document.querySelectorAll('#files tbody tr').length") == size
        # All of it on one screen: the section is no higher than the window.
        assert page.run("document.getElementById('files').closest('section').offsetHeight <= window.innerHeight")
        page.run("document.getElementById('next').click(); 1")
        page.waits_for(f"{size + 1}–{2 * size} of 500 files")
        page.run("document.querySelector('#files th button').click(); 1")
        page.waits_for(f"1–{size} of 500 files")
        eventually("the first by name", lambda: page.run("listed.files[0].path").endswith("/000.log"))
        page.run("const field = document.getElementById('filter'); field.value = '42'; "
                 "field.dispatchEvent(new Event('input')); 1")
        expected = sum("42" in str(path) for path in world.logs.iterdir())
        page.waits_for(f"of {expected} files, 500 in all")
        page.run("field.value = ''; field.dispatchEvent(new Event('input')); 1")
        page.waits_for(f"1–{size} of 500 files")

    each(browser, world, "many-files", look)
    asked = json.loads(world.get("files?limit=3&offset=498&sort=path&order=asc"))
    assert (asked["total"], asked["offset"], len(asked["files"])) == (500, 498, 2), asked
    assert json.loads(world.get("status?files=0"))["files"] == []
    assert len(world.status()["files"]) == 500
    world.stop()


def throttled(browser):
    world = World(3, "--quota-requests", "5")
    eventually("throttling", lambda: world.status()["streams"][0]["throttled"] > 3)

    def look(page):
        page.waits_for("slowed to")
        page.waits_for("ServiceUnavailableException")
        page.waits_for("What to do")
        eventually("a state that says so", lambda: page.run("latest.streams[0].state") in ("throttled", "slowed", "held"))

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
        eventually("the state", lambda: page.run("latest.streams[0].state") == "held")
        assert page.run("document.querySelectorAll('.badge.good').length") == 0, "nothing green beside it"
        page.waits_for("H held")

    each(browser, world, "held", look)
    world.stop()


def rejecting(browser):
    world = World(3)
    world.fault({"rates": {"invalid_argument": 1.0}})
    with open(world.logs / "000.log", "a") as log:
        log.write("refused\n" * 100)

    def look(page):
        page.waits_for("not ready")
        eventually("the state", lambda: page.run("latest.streams[0].state") == "rejecting")
        page.waits_for("refuses record after record")

    each(browser, world, "rejecting", look)
    world.stop()


def stuck(browser):
    """One record that the service fails on, while it takes the others."""
    world = World(3, poison=b"poison\n")
    with open(world.logs / "000.log", "a") as log:
        log.write("poison\n")
    feeding = threading.Event()

    def feed():
        while not feeding.is_set():
            with open(world.logs / "001.log", "a") as log:
                log.write("others pass\n")
            time.sleep(0.2)

    feeder = threading.Thread(target=feed)
    feeder.start()

    def look(page):
        eventually("the state", lambda: page.run("latest.streams[0].state") == "stuck")
        page.waits_for("Stuck for")

    each(browser, world, "stuck", look)
    feeding.set()
    feeder.join()
    world.stop()


def dead_letters(browser):
    world = World(3, more='oversize = "dead_letter"\nmax_line_bytes = 1000\n')
    with open(world.logs / "000.log", "a") as log:
        log.write(("x" * 3_000 + "\nfits\n") * 3)

    def look(page):
        page.waits_for("ready, dead letters")
        page.waits_for("Oversize")
        page.waits_for("dead letters since the daemon began, by code")
        assert page.run("document.querySelectorAll('#state.good').length") == 0, "nothing green beside it"
        page.waits_for("D dead letters")

    each(browser, world, "dead-letters", look)
    world.stop()


def spread(browser):
    """A stream whose files are spread shows each delivery stream."""
    world = World(3, more='[stream.app-logs]\ndelivery_streams = ["logs-1", "logs-2"]\n')

    def look(page):
        page.waits_for("2 delivery streams that the files are spread over")
        for name in ("logs-1 (us-east-1)", "logs-2 (us-east-1)"):
            page.waits_for(name)
        eventually("the files", lambda: page.run("latest.streams[0].delivery_streams.reduce((sum, lane) => sum + lane.files, 0)") == 3)

    each(browser, world, "spread", look)
    world.stop()


def starting(browser):
    """Before the files are found, and where a network file system hangs, it says so."""
    world = World(3)

    def look(page):
        eventually("an answer", lambda: page.run("latest !== null"))
        page.run("""clearInterval(1); turn = async () => {}; ask = async () => {};
            latest = { ...latest, ready: false, reasons: [{ code: 'starting',
              message: 'the files of the sources have not all been found and opened yet',
              advice: 'wait; a directory that hangs (a dead network file system) keeps it here' }] }; draw(); 1""")
        page.waits_for("starting")

    each(browser, world, "starting", look)
    world.stop()


def gone(browser):
    """What is old is grey, and says how old; a daemon that comes back goes on where the page was."""
    world = World(3)

    def look(page):
        page.waits_for("1–3 of 3 files")
        points = eventually("two points", lambda: max(page.run("points.length") - 1, 0))
        world.end_daemon()
        page.waits_for("does not answer")
        page.waits_for("last answer")
        assert page.run("document.body.classList.contains('stale')")
        page.shot(f"gone-{page.size}-{page.scheme}")
        # Also when it is drawn again, at another width.
        for width in (500, 1600):
            page.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
            eventually("the width", lambda: page.run("innerWidth") == width)
            page.call("Page.captureScreenshot")
            assert "does not answer" in page.text(), page.text()[:200]
        world.start_daemon()
        page.waits_for("the daemon began again")
        assert not page.run("document.body.classList.contains('stale')")
        assert page.run("points.length") >= points, "what was drawn stays"

    for size in SIZES:
        for scheme in ("light", "dark"):
            page = Page(browser, world.url, size, scheme)
            look(page)
            page.close()
    world.stop()


def names_are_text(browser):
    world = World(1)
    evil = world.logs / f"{EVIL}.log".replace("/", "")
    evil.write_text("line\n")

    def look(page):
        eventually("the path in full", lambda: page.run("[...document.querySelectorAll('#files .path')].some((node) => "
                                                        f"node.title.endsWith({json.dumps(EVIL)} + '.log'))"))
        eventually("the source", lambda: page.run("[...document.querySelectorAll('#sources [title]')].some((node) => "
                                                  f"node.title === {json.dumps(f'app <b>{EVIL}</b>')})"))

    each(browser, world, "names", look)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    policy = opener.open(world.url).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy, policy
    assert "unsafe" not in re.sub(r"style-src[^;]*", "", policy), policy
    icon = opener.open(world.url + "icon.svg")
    assert icon.headers["Content-Type"] == "image/svg+xml" and b"<svg" in icon.read()
    world.stop()


def main():
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not program:
        print("skipped: there is no Chromium on this machine")
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Chromium(program, profile)
        chosen = sys.argv[3:]
        for check in (healthy, many_files, throttled, broken, rejecting, stuck, dead_letters, spread, starting, gone, names_are_text):
            if chosen and check.__name__ not in chosen:
                continue
            check(browser)
            print(f"{check.__name__} ok", flush=True)
        if SHOTS:
            sheets(browser)
        browser.stop()


main()
