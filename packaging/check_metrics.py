#!/usr/bin/env python3
"""Whether the alerts and the dashboard speak of metrics that there are, and the dashboard is one by Grafana's own schema, whose
panels do not overlap.

usage: check_metrics.py SCRAPE (what a daemon answers to GET /metrics)
"""

import json
import pathlib
import re
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

HERE = pathlib.Path(__file__).parent


def there_are(scrape):
    """The names that a scrape declares, also of metrics without a sample."""
    names = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", scrape, re.MULTILINE):
        names.add(name)
        if kind == "histogram":
            names.update({f"{name}_bucket", f"{name}_sum", f"{name}_count"})
    return names


def expressions():
    """Each expression with where it stands."""
    rules = (HERE / "prometheus" / "rules.yml").read_text()
    yield "prometheus/rules.yml", re.sub(r"^\s*#.*$", "", rules, flags=re.MULTILINE)
    dashboard = json.loads((HERE / "grafana" / "standpipe.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield f"grafana: {panel['title']}", target["expr"]
    for variable in dashboard["templating"]["list"]:
        yield f"grafana: ${variable['name']}", variable.get("definition", "")


def overlaps():
    """Panels that lie over each other."""
    panels = json.loads((HERE / "grafana" / "standpipe.json").read_text())["panels"]
    taken = {}
    for panel in panels:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = taken.setdefault((x, y), panel["title"])
                if other != panel["title"] or x >= 24:
                    yield f"{panel['title']} lies over {other}"


def strange():
    """Keys of the dashboard that Grafana's own types do not have: what they read of it, they write again."""
    def lost(wanted, found, where):
        if isinstance(wanted, dict):
            for key, value in wanted.items():
                # Written by Grafana's editor for queries of variables, and not in its schema.
                if key == "definition" and "/templating/" in where:
                    continue
                if not isinstance(found, dict) or key not in found:
                    yield f"grafana: {where}/{key} is not in the dashboard's schema"
                else:
                    yield from lost(value, found[key], f"{where}/{key}")
        elif isinstance(wanted, list):
            for index, value in enumerate(wanted):
                yield from lost(value, found[index], f"{where}/{index}")
        elif wanted != found:
            yield f"grafana: {where} is {wanted!r}, read as {found!r}"

    written = json.loads((HERE / "grafana" / "standpipe.json").read_text())
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(written)))
    yield from lost(written, read, "")


def main():
    known = there_are(pathlib.Path(sys.argv[1]).read_text())
    faults = set(overlaps()) | set(strange())
    for where, expression in expressions():
        for name in re.findall(r"\b(?:standpipe|process)_[a-z_]+", expression):
            if name not in known:
                faults.add(f"{where}: there is no {name}")
    for fault in sorted(faults):
        print(fault, file=sys.stderr)
    sys.exit(1 if faults else 0)


main()
