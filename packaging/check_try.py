#!/usr/bin/env python3
"""Whether docs/try holds together: the file as Compose reads it, and what its services do with their settings.

usage: check_try.py STANDPIPE

The application, the embedded delivery stream, standpipe and Prometheus run as processes with the files and arguments of
compose.yaml, in which only addresses and directories are others. Prometheus then has to answer everything that the
dashboard asks. Grafana's files are read, and held to what they name. Needs prometheus, promtool, compose-spec and PyYAML.
"""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request

import yaml
from compose_spec import PyCompose

ROOT = pathlib.Path(__file__).parent.parent
TRY = ROOT / "docs/try"
PATIENCE_SECONDS = 120


def fail(what):
    sys.exit(f"docs/try: {what}")


def read(path):
    return yaml.safe_load(path.read_text())


# What stands in the files.


def mounts(service):
    """Where each bind mount or volume of a service is, by its place in the container."""
    return {mount.split(":")[1]: mount.split(":")[0] for mount in service.get("volumes", [])}


def there(source):
    return (TRY / source).resolve()


def judge_compose(compose):
    services = compose["services"]
    for name, service in services.items():
        build = service.get("build")
        if build and not (there(build["context"]) / build["dockerfile"]).is_file():
            fail(f"{name} is built from nothing: {build}")
        if not build and not re.search(r":v?\d+\.\d+", service["image"]):
            fail(f"{name} is of no certain version: {service['image']}")
        for place, source in mounts(service).items():
            if source.startswith("."):
                if not there(source).exists():
                    fail(f"{name} mounts {source}, which is not there")
            elif source not in compose["volumes"]:
                fail(f"{name} mounts {source}, which is no volume")
            if not place.startswith("/"):
                fail(f"{name} mounts something at {place}")
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                fail(f"{name} is published to everybody: {port}")
        for other in service.get("depends_on", []):
            if other not in services:
                fail(f"{name} waits for {other}, which is not there")
    # What is written and read is in a volume.
    logs = [path.rsplit("/", 1)[0] for source in tomllib.loads((TRY / "standpipe.toml").read_text())["source"] for path in source["paths"]]
    places = {"standpipe": logs, "app": services["app"]["command"][-1:], "firehose": services["firehose"]["command"][4:5]}
    for name, wanted in places.items():
        if not set(wanted) <= set(mounts(services[name])):
            fail(f"{name} mounts nothing at {wanted}")
    used = {source for service in services.values() for source in mounts(service).values() if not source.startswith(".")}
    if used != set(compose["volumes"]):
        fail(f"volumes that nobody uses: {set(compose['volumes']) - used}")


def judge_grafana(compose):
    grafana = compose["services"]["grafana"]
    places = mounts(grafana)
    [source] = read(TRY / "grafana/datasources/prometheus.yaml")["datasources"]
    url = urllib.parse.urlparse(source["url"])
    published = [port.split(":")[-1] for port in compose["services"][url.hostname]["ports"]]
    if str(url.port) not in published or source["type"] != "prometheus" or not source["isDefault"]:
        fail(f"Grafana asks {source}")
    [provider] = read(TRY / "grafana/dashboards/standpipe.yaml")["providers"]
    boards = [place for place in places if place.startswith(provider["options"]["path"] + "/")]
    if [there(places[place]) for place in boards] != [ROOT / "packaging/grafana/standpipe.json"]:
        fail(f"Grafana shows {boards}")
    if grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] not in boards:
        fail("Grafana begins with another dashboard")
    for kind in ("datasources", "dashboards"):
        if there(places[f"/etc/grafana/provisioning/{kind}"]) != TRY / "grafana" / kind:
            fail(f"Grafana's {kind} are not where it looks")
    types = {variable["type"] for variable in dashboard()["templating"]["list"] if variable.get("query") == "prometheus"}
    if types != {"datasource"}:
        fail("the dashboard takes no data source by its type")


def dashboard():
    return json.loads((ROOT / "packaging/grafana/standpipe.json").read_text())


# What the services do.


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url, **query):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}?{urllib.parse.urlencode(query)}" if query else url, timeout=10) as answer:
        return json.load(answer)


def await_that(what, condition, started):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for process in started:
            if process.poll() is not None:
                fail(f"{process.args} ended with {process.returncode}")
        try:
            if condition():
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.2)
    fail(f"never came: {what}")


def replaced(words, others):
    """Words with each part that is other here, which has to be there."""
    words = [str(word) for word in words]
    for old, new in others.items():
        if not any(old in word for word in words):
            fail(f"{words} has no {old}")
        words = [word.replace(old, new) for word in words]
    return words


def questions():
    """Every expression of the dashboard, as Grafana asks it when all of everything is chosen."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "1m").replace("$__range", "1h").replace("$__interval", "15s")
            yield panel["title"], re.sub(r"\$\{?\w+\}?", ".*", expression)


def run(program, compose, work, started):
    services = compose["services"]
    logs, state, delivered = work / "logs", work / "state", work / "delivered"
    logs.mkdir()
    stream, health, prometheus = free_port(), free_port(), free_port()

    def start(arguments, env=None):
        said = open(work / f"{len(started)}.log", "wb")
        started.append(subprocess.Popen(arguments, env={**os.environ, **(env or {})}, stdout=said, stderr=said))

    shell, script, directory = services["app"]["command"]
    start([shell, there(mounts(services["app"])[script]), replaced([directory], {"/logs": str(logs)})[0]])
    start([program, *replaced(services["firehose"]["command"], {"0.0.0.0:4573": f"127.0.0.1:{stream}", "/var/lib/standpipe": str(delivered)})])
    settings = work / "standpipe.toml"
    text = (TRY / "standpipe.toml").read_text()
    settings.write_text("\n".join(replaced([text], {"/logs": str(logs), "0.0.0.0:9909": f"127.0.0.1:{health}"})))
    environment = services["standpipe"]["environment"]
    endpoint = replaced([environment["AWS_ENDPOINT_URL_FIREHOSE"]], {"firehose:4573": f"127.0.0.1:{stream}"})[0]
    command = replaced(services["standpipe"]["command"], {"/etc/standpipe/standpipe.toml": str(settings)})
    start([program, *command, "--state-dir", state], {**environment, "AWS_ENDPOINT_URL_FIREHOSE": endpoint})

    subprocess.run(["promtool", "check", "config", "--syntax-only", TRY / "prometheus.yml"], check=True, capture_output=True)
    scraping = work / "prometheus.yml"
    text = (TRY / "prometheus.yml").read_text()
    scraping.write_text(replaced([text], {"standpipe:9909": f"127.0.0.1:{health}", "rules.yml": str(ROOT / "packaging/prometheus/rules.yml")})[0])
    start(["prometheus", f"--config.file={scraping}", f"--storage.tsdb.path={work / 'tsdb'}", f"--web.listen-address=127.0.0.1:{prometheus}"])

    def ask(expression):
        return get(f"http://127.0.0.1:{prometheus}/api/v1/query", query=expression)["data"]["result"]

    await_that("a hundred lines in Prometheus", lambda: ask("sum(standpipe_records_delivered_total) > 100"), started)
    await_that("two scrapes of them", lambda: ask("sum(rate(standpipe_records_delivered_total[1m])) > 0"), started)
    asked = answered = 0
    for title, expression in questions():
        asked += 1
        try:
            answered += bool(ask(expression))
        except urllib.error.HTTPError as error:
            fail(f"Prometheus does not understand what {title} asks: {expression}\n{error.read().decode()}")
    # Of refusals, losses and the like there is nothing to say here.
    if answered < asked / 2:
        fail(f"of {asked} questions of the dashboard {answered} had an answer")
    groups = get(f"http://127.0.0.1:{prometheus}/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    await_that("every rule's first turn", lambda: all(
        rule["health"] == "ok"
        for group in get(f"http://127.0.0.1:{prometheus}/api/v1/rules")["data"]["groups"] for rule in group["rules"]), started)
    if len(rules) != sum(len(group["rules"]) for group in read(ROOT / "packaging/prometheus/rules.yml")["groups"]):
        fail(f"Prometheus has {len(rules)} rules")

    def traces():
        for path in (delivered / "app-logs").glob("*/*/*/*/*"):
            for line in path.read_text().splitlines():
                message = json.loads(line)["message"]
                if "IllegalStateException" in message:
                    yield message

    await_that("a stack trace", lambda: any(traces()), started)
    if any(trace.count("\n\tat ") != 2 for trace in traces()):
        fail("a stack trace is not one record")
    accepted = get(f"http://127.0.0.1:{stream}/_standpipe/stats")
    if "app-logs" not in json.dumps(accepted):
        fail(f"the delivery stream says {accepted}")
    print(f"docs/try: {asked} questions of the dashboard, {answered} with an answer; {len(rules)} alerts")


def main():
    [program] = sys.argv[1:]
    program = pathlib.Path(program).resolve()
    text = (TRY / "compose.yaml").read_text()
    # Refuses what Compose does not know.
    PyCompose.from_yaml(text)
    compose = yaml.safe_load(text)
    judge_compose(compose)
    judge_grafana(compose)
    started = []
    with tempfile.TemporaryDirectory() as work:
        try:
            run(program, compose, pathlib.Path(work), started)
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(60)


main()
