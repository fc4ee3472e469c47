#!/usr/bin/env python3
"""Whether versions grow from commit to commit, workflows are what GitHub takes, and a bill of materials is what CycloneDX has.

usage: check_release.py [DIRECTORY that packaging/release.sh made]

Needs git, dpkg and rpm; check-jsonschema and cyclonedx-python-lib, whose schemas are used; jsonschema and PyYAML.
"""

import importlib.resources
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import jsonschema
import referencing
import yaml

ROOT = pathlib.Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
faults = []


def run(*command, cwd=None):
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    for who in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{who}_NAME": "check", f"GIT_{who}_EMAIL": "check@localhost"}
    return subprocess.run(command, cwd=cwd, env=environment, check=False, capture_output=True, text=True)


# Versions, in a repository of its own.


class Story:
    """A repository with nothing but the script and a Cargo.toml, to which commits and tags are added."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        (self.folder / "packaging").mkdir()
        shutil.copy(ROOT / "packaging/version.sh", self.folder / "packaging")
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *words):
        done = run("git", *words, cwd=self.folder)
        assert done.returncode == 0, done.stderr

    def commit(self, declared):
        (self.folder / "Cargo.toml").write_text(f'[package]\nversion = "{declared}"\n')
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "another")

    def version(self):
        return run("packaging/version.sh", cwd=self.folder)


def newer_by_rpm(version, than):
    return run("rpm", "--eval", f'%{{lua: print(rpm.vercmp("{version}", "{than}"))}}').stdout.strip() == "1"


def check_versions():
    with tempfile.TemporaryDirectory() as folder:
        story = Story(folder)
        versions = ["0.1.0"]
        # More than nine, so that numbers are compared as such; then a release, and again.
        for _ in range(11):
            story.commit("0.1.0")
            versions.append(story.version().stdout.strip())
        for tag in ("0.2.0", "0.10.0"):
            story.commit(tag)
            story.git("tag", f"v{tag}")
            versions.append(story.version().stdout.strip())
            if versions[-1] != tag:
                faults.append(f"version.sh: at the tag v{tag} it says {versions[-1]!r}")
            for _ in range(2):
                story.commit(tag)
                versions.append(story.version().stdout.strip())
        for older, newer in zip(versions, versions[1:]):
            if run("dpkg", "--compare-versions", newer, "gt", older).returncode != 0:
                faults.append(f"version.sh: dpkg does not take {newer} for newer than {older}")
            if not newer_by_rpm(newer, older):
                faults.append(f"version.sh: rpm does not take {newer} for newer than {older}")
        story.git("tag", "v0.11.0")
        if story.version().returncode == 0:
            faults.append("version.sh: a tag that Cargo.toml contradicts is no fault to it")


# Workflows.


def vendored(package, *names):
    return json.loads(importlib.resources.files(package).joinpath(*names).read_text())


def check_workflows():
    schema = vendored("check_jsonschema", "builtin_schemas", "vendor", "github-workflows.json")
    validator = jsonschema.Draft7Validator(schema)
    for path in WORKFLOWS:
        text = path.read_text()
        # To YAML 1.1 `on` is a truth, to GitHub a word.
        workflow = {("on" if key is True else key): value for key, value in yaml.safe_load(text).items()}
        for error in validator.iter_errors(workflow):
            faults.append(f"{path.name}: {'/'.join(map(str, error.absolute_path))}: {error.message}")
        for script in re.findall(r"(?<![\w./])(packaging/[\w/]+\.\w+|\.ci/\w+)", text):
            if not (ROOT / script).exists():
                faults.append(f"{path.name}: there is no {script}")
    recipe = (ROOT / "packaging/release.sh").read_text()
    targets = set(re.findall(r"^\s+- target: (\S+)$", (ROOT / ".github/workflows/release.yml").read_text(), re.MULTILINE))
    known = set(re.findall(r"[a-z0-9_]+-unknown-linux-[a-z]+", recipe))
    if targets != known:
        faults.append(f"release.yml makes {sorted(targets)}, and release.sh knows {sorted(known)}")
    if len(WORKFLOWS) < 2:
        faults.append(f"only {WORKFLOWS} are there")


# Bills of materials.


def check_bill(path):
    schemas = {
        name: vendored("cyclonedx", "schema", "_res", f"{name}.SNAPSHOT.schema.json")
        for name in ("bom-1.6", "spdx", "jsf-0.82", "cryptography-defs")
    }
    registry = referencing.Registry()
    for name, schema in schemas.items():
        resource = referencing.Resource.from_contents(schema, referencing.jsonschema.DRAFT7)
        registry = registry.with_resources([(schema["$id"], resource), (f"{name}.SNAPSHOT.schema.json", resource)])
    bill = json.loads(path.read_text())
    for error in jsonschema.Draft7Validator(schemas["bom-1.6"], registry=registry).iter_errors(bill):
        faults.append(f"{path.name}: {'/'.join(map(str, error.absolute_path))}: {error.message}")
    references = {component["bom-ref"] for component in [bill["metadata"]["component"], *bill["components"]]}
    for entry in bill["dependencies"]:
        for wanted in {entry["ref"], *entry["dependsOn"]} - references:
            faults.append(f"{path.name}: {wanted} is depended on, and is no component")
    linked = {component["name"] for component in bill["components"] if component["scope"] == "required"}
    for name in ("libsqlite3-sys", "aws-lc-sys", "tokio"):
        if name not in linked:
            faults.append(f"{path.name}: {name}, which the binary has in it, is not said to be")


def main():
    check_versions()
    check_workflows()
    bills = sorted(pathlib.Path(sys.argv[1]).glob("*.cdx.json")) if len(sys.argv) > 1 else []
    for bill in bills:
        check_bill(bill)
    if len(sys.argv) > 1 and not bills:
        faults.append(f"{sys.argv[1]} has no bill of materials")
    for said in faults:
        print(said)
    if faults:
        sys.exit(1)
    print(f"versions grow; {len(WORKFLOWS)} workflows and {len(bills)} bills of materials are as their schemas have it")


main()
