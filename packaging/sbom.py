#!/usr/bin/env python3
"""Prints the bill of materials of a release binary: CycloneDX 1.6, from what cargo resolves for its target.

usage: sbom.py TARGET VERSION BINARY

Crates that are linked into the binary have the scope "required"; those that only run while it is built (procedural macros,
build scripts, and what these need) have "excluded". The same commit gives the same bytes: SOURCE_DATE_EPOCH is the time.
"""

import datetime
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib
import urllib.parse
import uuid

ROOT = pathlib.Path(__file__).parent.parent
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/standpipe")


def metadata(target):
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def scopes(nodes, packages, root):
    """Each package that the binary is made of or with, and whether it is linked in."""
    found = {}

    def visit(package, linked):
        if found.get(package) or (package in found and not linked):
            return
        found[package] = linked
        for dependency in nodes[package]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            macro = any("proc-macro" in made["kind"] for made in packages[dependency["pkg"]]["targets"])
            if None in kinds:
                visit(dependency["pkg"], linked and not macro)
            elif "build" in kinds:
                visit(dependency["pkg"], False)

    visit(root, True)
    return found


def reference(package):
    return f"pkg:cargo/{package['name']}@{urllib.parse.quote(package['version'])}"


def component(package, checksums, linked):
    """One crate, as CycloneDX has it."""
    made = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "scope": "required" if linked else "excluded",
        "purl": reference(package),
    }
    if checksum := checksums.get((package["name"], package["version"])):
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["license"]:
        # Cargo's old way to write OR.
        made["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", package["license"])}]
    if package["repository"]:
        made["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return made


def bill(target, version, binary):
    found = metadata(target)
    packages = {package["id"]: package for package in found["packages"]}
    nodes = {node["id"]: node for node in found["resolve"]["nodes"]}
    root = found["resolve"]["root"]
    linked = scopes(nodes, packages, root)
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(entry["name"], entry["version"]): entry.get("checksum") for entry in lock["package"]}
    digest = hashlib.sha256(binary.read_bytes()).hexdigest()
    time = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.UTC)
    order = sorted(linked, key=lambda package: (packages[package]["name"], packages[package]["version"]))

    def wanted(package):
        return sorted({
            reference(packages[dependency["pkg"]])
            for dependency in nodes[package]["deps"]
            if dependency["pkg"] in linked and {kind["kind"] for kind in dependency["dep_kinds"]} & {None, "build"}
        })

    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, f'{version} {target} {digest}')}",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application",
                "bom-ref": reference(packages[root]),
                "name": packages[root]["name"],
                "version": version,
                "description": packages[root]["description"],
                "hashes": [{"alg": "SHA-256", "content": digest}],
                "licenses": [{"expression": packages[root]["license"]}],
                "purl": reference(packages[root]),
            },
            "properties": [{"name": "cargo:target", "value": target}],
        },
        "components": [
            component(packages[package], checksums, linked[package]) for package in order if package != root
        ],
        "dependencies": [
            {"ref": reference(packages[package]), "dependsOn": wanted(package)} for package in order
        ],
    }


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    json.dump(bill(sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])), sys.stdout, indent=1)
    print()


main()
