#!/usr/bin/env python3
"""Whether what kustomize makes of the bases, and Helm of the chart, is what a cluster takes, and what standpipe understands.

usage: check_kubernetes.py STANDPIPE

Each base, the chart with each values file of tests/helm and packaging/eks, and the chart as a dependency, as its README shows
it, are rendered by the real tools; every part has to be valid, and what parts say of each other has to agree. Needs kubectl,
helm-python-sdk, kubernetes-validate and PyYAML.
"""

import fnmatch
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib

import helm_python
import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).parent.parent
CHART = ROOT / "packaging/helm/standpipe"
# What the chart has as copies, because Helm reads nothing outside of a chart.
COPIES = {
    "rules.yml": "prometheus/rules.yml",
    "standpipe.json": "grafana/standpipe.json",
    "daemonset.toml": "kubernetes/daemonset/standpipe.toml",
    "sidecar.toml": "kubernetes/sidecar/standpipe.toml",
}
KUBERNETES = kubernetes_validate.latest_version()
# The operator's own kinds have no schema in Kubernetes: what is asked of them stands below.
OPERATOR = "monitoring.coreos.com/v1"

faults = []


def fault(where, what):
    faults.append(f"{where}: {what}")


def version():
    return re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]


def parts_of(text):
    return [part for part in yaml.safe_load_all(text) if part]


def pods(parts):
    """The name and the pod of each workload."""
    for part in parts:
        if part["kind"] in ("Deployment", "DaemonSet"):
            yield part["metadata"]["name"], part["spec"]["template"]


def shippers(pod):
    spec = pod["spec"]
    return [each for each in spec["containers"] + spec.get("initContainers", []) if each["name"] == "standpipe"]


def judge_config(program, where, text, variables, container, namespace):
    """A standpipe.toml, as the container has it."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "standpipe.toml"
        path.write_text(text)
        said = subprocess.run([program, "check", "-c", path], env={**os.environ, **variables}, capture_output=True, text=True)
        if said.returncode != 0:
            fault(where, said.stderr)
            return
    for name, value in variables.items():
        text = text.replace(f"${{{name}}}", value)
    config = tomllib.loads(text)
    listen = config.get("health", {}).get("listen", "")
    ports = [port["containerPort"] for port in container.get("ports", [])] if container else [9909]
    if listen not in [f"0.0.0.0:{port}" for port in ports]:
        fault(where, f"listens on {listen!r}, and the container's ports are {ports}")
    if container:
        mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
        if mounts.get(config.get("state_dir", "/var/lib/standpipe")) is not False:
            fault(where, f"state_dir is not mounted for writing: {mounts}")
    # What it writes itself, by each layout of Kubernetes, for a pod called anything.
    own = {
        "/var/log/containers/": f"any-pod_{namespace}_standpipe-{'0' * 64}.log",
        "/var/log/pods/": f"{namespace}_any-pod_0-1-2/standpipe/0.log",
    }
    for source in config["source"]:
        for path in source["paths"]:
            for directory, name in own.items():
                if path.startswith(directory):
                    globs = source.get("exclude", [])
                    if not any(fnmatch.fnmatch(directory + name if "/" in glob else name, glob) for glob in globs):
                        fault(where, f"its own log comes back to it: {globs}")


def judge_pod(where, name, pod, parts):
    """What holds for every pod that carries standpipe."""
    spec = pod["spec"]
    if spec.get("automountServiceAccountToken") is not False:
        fault(where, f"{name} has a token for Kubernetes")
    if pod["metadata"]["labels"].get("standpipe") != "metrics":
        fault(where, f"no monitor finds {name}")
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    maps = {part["metadata"]["name"] for part in parts if part["kind"] == "ConfigMap"}
    for container in shippers(pod):
        for mount in container["volumeMounts"]:
            volume = volumes.get(mount["name"])
            if volume is None:
                fault(where, f"{name} has no volume {mount['name']}")
            elif "configMap" in volume and volume["configMap"]["name"] not in maps:
                fault(where, f"{name} mounts a ConfigMap that is not there: {volume['configMap']['name']}")
        security = container["securityContext"]
        if security["allowPrivilegeEscalation"] or security["capabilities"] != {"drop": ["ALL"]}:
            fault(where, f"{name} has privileges")
        if not re.search(rf"(:{re.escape(version())}|@sha256:[0-9a-f]{{64}})$", container["image"]):
            fault(where, f"{name} is of no certain version: {container['image']}")
        grace = spec.get("terminationGracePeriodSeconds", 30)
        if grace <= 25:
            fault(where, f"{name} is killed before shutdown.timeout is over")


def judge(program, where, parts, namespace):
    """Everything that one rendering comes to."""
    for part in parts:
        what = f"{part['kind']} {part['metadata']['name']}"
        if part["apiVersion"] != OPERATOR:
            try:
                kubernetes_validate.validate(part, KUBERNETES, strict=True)
            except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
                fault(f"{where}, {what}", str(error).splitlines()[0])
        elif part["kind"] not in ("PodMonitor", "PrometheusRule"):
            fault(f"{where}, {what}", "no such kind is known")
        if part["kind"] != "Namespace" and part["metadata"].get("namespace") != namespace:
            fault(f"{where}, {what}", f"is in the namespace {part['metadata'].get('namespace')}, not in {namespace}")
    for space in (part for part in parts if part["kind"] == "Namespace"):
        if space["metadata"]["name"] != namespace:
            fault(where, f"creates the namespace {space['metadata']['name']} and uses {namespace}")
        needs = "privileged" if any(part["kind"] == "DaemonSet" for part in parts) else "restricted"
        if space["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != needs:
            fault(where, f"the namespace's label is not {needs}")
    containers = []
    for name, pod in pods(parts):
        judge_pod(where, name, pod, parts)
        containers += shippers(pod)
        for policy in (part for part in parts if part["kind"] == "NetworkPolicy"):
            if not policy["spec"]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items():
                fault(where, f"the network policy does not hold for {name}")
            for rule in policy["spec"]["ingress"]:
                if not rule.get("from"):
                    fault(where, "whoever likes may scrape")
                known = [port["containerPort"] for container in shippers(pod) for port in container["ports"]]
                if [port["port"] for port in rule["ports"]] != known:
                    fault(where, f"the network policy lets in to other ports than {known}")
        for monitor in (part for part in parts if part["kind"] == "PodMonitor"):
            judge_monitor(where, monitor, name, pod)
    for part in (part for part in parts if part["kind"] == "ConfigMap"):
        text = part["data"].get("standpipe.toml")
        if text is not None:
            container = containers[0] if containers else None
            variables = {"NODE_NAME": "node-1", "POD_NAMESPACE": namespace}
            given = container.get("env", []) if container else []
            variables = {each["name"]: each.get("value", variables.get(each["name"], "")) for each in given} or variables
            judge_config(program, f"{where}, standpipe.toml", text, variables, container, namespace)


def judge_monitor(where, monitor, name, pod):
    """That what a PodMonitor selects and scrapes is there."""
    if not monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items():
        fault(where, f"the PodMonitor does not select {name}")
    ports = [port["name"] for container in shippers(pod) for port in container["ports"]]
    for end in monitor["spec"]["podMetricsEndpoints"]:
        if end["port"] not in ports:
            fault(where, f"the PodMonitor scrapes {end['port']} of {name}, which has {ports}")


def bases(program):
    monitor = yaml.safe_load((ROOT / "packaging/kubernetes/podmonitor.yaml").read_text())
    for path in sorted((ROOT / "packaging/kubernetes").glob("*/kustomization.yaml")):
        base = yaml.safe_load(path.read_text())
        rendered = subprocess.run(["kubectl", "kustomize", path.parent], capture_output=True, text=True)
        if rendered.returncode != 0:
            fault(path, rendered.stderr)
            continue
        parts = parts_of(rendered.stdout)
        where = f"base {path.parent.name}"
        if not any(part["kind"] == "Namespace" for part in parts):
            fault(where, "creates no namespace")
        for name, pod in pods(parts):
            judge_monitor(where, monitor, name, pod)
        judge(program, where, parts, base["namespace"])


def rendered(chart, values, namespace="release", name="logs"):
    with helm_python.Chart.load(chart) as loaded:
        texts = loaded.render(values, name=name, namespace=namespace)
    notes = [texts.pop(name) for name in list(texts) if name.endswith("NOTES.txt")]
    return [part for text in texts.values() for part in parts_of(text)], "\n".join(notes)


def chart(program):
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    if {about["version"], about["appVersion"]} != {version()}:
        fault("Chart.yaml", f"is not of version {version()}")
    for copy, original in COPIES.items():
        if (CHART / "files" / copy).read_bytes() != (ROOT / "packaging" / original).read_bytes():
            fault(f"files/{copy}", f"is another than packaging/{original}: copy that over it")
    found = helm_python.lint(CHART)
    # 1: a recommendation, such as that of an icon.
    for message in [message for message in found["messages"] if message["severity"] > 1] + found["errors"]:
        fault("helm lint", message)

    # Every value of values.yaml is in the schema, and the other way round but for what a parent chart adds.
    with helm_python.Chart.load(CHART) as loaded:
        if set(loaded.values) != set(loaded.schema["properties"]) - {"global", "enabled"}:
            fault("values.schema.json", set(loaded.values) ^ set(loaded.schema["properties"]))
    examples = sorted((ROOT / "tests/helm").glob("*.yaml"))
    assert len(examples) >= 3, examples
    given = set()
    kinds = set()
    for path in examples:
        values = yaml.safe_load(path.read_text())
        given |= set(values)
        namespace = values.get("namespace", {}).get("name", "release")
        parts, notes = rendered(CHART, values)
        kinds |= {part["kind"] for part in parts}
        judge(program, f"chart, {path.name}", parts, namespace)
        for part in parts:
            if part["kind"] == "PrometheusRule":
                if part["spec"] != yaml.safe_load((ROOT / "packaging/prometheus/rules.yml").read_text()):
                    fault(f"chart, {path.name}", "the rules are others")
            if part["kind"] == "ConfigMap" and "standpipe.json" in part["data"]:
                dashboard = (ROOT / "packaging/grafana/standpipe.json").read_text()
                if part["data"]["standpipe.json"].strip() != dashboard.strip():
                    fault(f"chart, {path.name}", "the dashboard is another")
        for call in re.findall(r"/usr/bin/standpipe (\S+)", notes):
            subprocess.run([program, call, "--help"], check=True, capture_output=True)
    with helm_python.Chart.load(CHART) as loaded:
        if given != set(loaded.values):
            fault("tests/helm", f"no file sets {set(loaded.values) - given}")
    wanted = {"Namespace", "ServiceAccount", "ConfigMap", "DaemonSet", "NetworkPolicy", "PodMonitor", "PrometheusRule"}
    if kinds != wanted:
        fault("tests/helm", f"the kinds are {kinds}")
    # What is wrong is refused, with the key's name.
    for wrong, name in [
        ({"tolerance": []}, "tolerance"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"namespace": {"create": True}}, "namespace"),
        ({"serviceAccount": {"create": False}}, "serviceAccount"),
    ]:
        try:
            rendered(CHART, wrong)
            fault("chart", f"takes {wrong}")
        except helm_python.HelmError as error:
            if name not in str(error):
                fault("chart", f"says of {wrong}: {error}")


def eks(program):
    """The values for EKS: with IRSA the account names its role, with Pod Identity nothing does."""
    for name, annotated in {"irsa": True, "pod-identity": False}.items():
        values = yaml.safe_load((ROOT / f"packaging/eks/{name}.yaml").read_text())
        parts, _ = rendered(CHART, values, namespace="logging", name="standpipe")
        judge(program, f"eks, {name}.yaml", parts, "logging")
        [account] = [part for part in parts if part["kind"] == "ServiceAccount"]
        if account["metadata"]["name"] != "standpipe" or ("annotations" in account["metadata"]) != annotated:
            fault(f"eks, {name}.yaml", account["metadata"])
        # Pod Identity's agent is on the node, beyond the pod's network policy.
        [policy] = [part for part in parts if part["kind"] == "NetworkPolicy"]
        if "169.254.170.23/32" not in str(policy["spec"]["egress"]):
            fault(f"eks, {name}.yaml", "the agent of Pod Identity cannot be reached")


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def readme(program):
    """The README's examples: values for the DaemonSet, and the chart as a dependency."""
    text = (CHART / "README.md").read_text()
    daemonset, dependency, values = blocks(text, "yaml")
    judge(program, "chart, README", rendered(CHART, yaml.safe_load(daemonset))[0], "release")
    [template] = blocks(text, "text")
    with tempfile.TemporaryDirectory() as directory:
        parent = pathlib.Path(directory) / "app"
        (parent / "templates").mkdir(parents=True)
        (parent / "Chart.yaml").write_text("apiVersion: v2\nname: app\nversion: 1.0.0\n" + dependency)
        (parent / "values.yaml").write_text(values)
        shutil.copytree(CHART, parent / "charts/standpipe")
        (parent / "templates/deployment.yaml").write_text(template)
        judge(program, "chart, as a dependency", rendered(parent, {})[0], "release")
        # Bound to the version that there is.
        [entry] = yaml.safe_load(dependency)["dependencies"]
        if (entry["name"], entry["version"]) != ("standpipe", version()):
            fault("chart, README", f"depends on {entry}")


def main():
    [program] = sys.argv[1:]
    bases(program)
    chart(program)
    eks(program)
    readme(program)
    for what in faults:
        print(what, file=sys.stderr)
    sys.exit(1 if faults else 0)


main()
