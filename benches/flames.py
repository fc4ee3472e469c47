#!/usr/bin/env python3
"""Where the processor time of a shape goes, as a flame graph: an SVG in which each function is as wide as it took time.

usage: flames.py STANDPIPE PICTURE.svg [SHAPE [LINES]]

A SHAPE of shapes.py ("json") is shipped as there, LINES (2,000,000) of 185 bytes, and `perf record` looks 999 times a second at
what the daemon does. STANDPIPE needs its symbols and where its functions unwind:

    CARGO_PROFILE_RELEASE_DEBUG=line-tables-only CARGO_PROFILE_RELEASE_STRIP=none \\
        cargo build --release --target-dir target/flames

Callers stand below what they call. What took less than a three-hundredth is left out, and so are arguments of types. Printed is
what the functions took by themselves, those they called left out.
"""

import collections
import pathlib
import re
import subprocess
import sys
import tempfile
from xml.sax.saxutils import escape

sys.dont_write_bytecode = True

import shapes  # noqa: E402

WIDTH, ROW, SIDE, TOP = 1400, 17, 10, 48
LEAST = 1 / 300
COLOURS = {
    "the kernel": "#d9a06b",
    "the C library": "#d8c36a",
    "standpipe": "#7fb08a",
    "its libraries": "#8fb3cf",
}


def main():
    program, picture = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    shape = (sys.argv[3:4] or ["json"])[0]
    lines = int((sys.argv[4:5] or [2_000_000])[0])
    stacks = folded(recorded(program, shape, lines))
    total = sum(stacks.values())
    picture.write_text(drawn(stacks, f"{lines:,} lines of 185 bytes as {shape}: {total:,} samples, 999 a second"), encoding="utf-8")
    alone = collections.Counter()
    for stack, count in stacks.items():
        alone[stack[-1]] += count
    for (_, name), count in alone.most_common(40):
        print(f"{count / total:6.1%}  {name}")


def recorded(program, shape, lines):
    """What perf says of each sample."""
    settings, line = shapes.SHAPES[shape]
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        with open(root / f"{shape}.log", "w", encoding="utf-8") as log:
            log.writelines(f"{line(number)}\n" for number in range(lines))
        data = root / "perf.data"
        shapes.ship(program, root, shape, settings, "0",
                    ["perf", "record", "-q", "-F", "999", "--call-graph", "dwarf,65528", "-o", data])
        return subprocess.run(["perf", "script", "-i", data, "--no-inline", "-F", "comm,ip,sym,dso"], check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def folded(script):
    """How often each stack was seen, its callers first."""
    stacks = collections.Counter()
    for sample in script.split("\n\n"):
        rows = [row for row in sample.split("\n") if row]
        if len(rows) < 2 or rows[0].split()[0].startswith("perf"):
            continue
        frames = [("standpipe", f"thread {rows[0].strip()}")]
        for row in reversed(rows[1:]):
            frame = named(row)
            if frame and frame != frames[-1]:
                frames.append(frame)
        stacks[tuple(without_start(frames))] += 1
    return stacks


def without_start(frames):
    """A stack without what stands between a thread's beginning and the first function of ours."""
    for at, (whose, _) in enumerate(frames[1:], 1):
        if whose == "standpipe":
            return frames[:1] + frames[at:]
    return frames


def named(row):
    """Whose a frame is, and its name; `None` where it has none."""
    parts = re.fullmatch(r"\s*[0-9a-f]+ (.*) \((.*)\)", row)
    if not parts or parts[1] == "[unknown]":
        return None
    name = short(parts[1])
    if parts[2].startswith("[") or parts[2].endswith((".ko", "vmlinux")):
        return "the kernel", name
    if "/libc" in parts[2]:
        return "the C library", name
    return ("standpipe" if re.match(r"<?standpipe::", parts[1]) else "its libraries"), name


def short(name):
    """A name without its hash, closures, and what stands in angle brackets, but for the type that implements something."""
    name = re.sub(r"::h[0-9a-f]{16}$|@.*$|\.(isra|constprop|part|cold|llvm)\.[0-9]+", "", name)
    name = name.replace("::{{closure}}", "").replace("{{vtable.shim}}", "")
    while "<" in name:
        shorter = re.sub(r"[\w:]*<impl (?:[^<>]* for )?([^<>]*)>", r"\1", name)
        shorter = re.sub(r"^<([^<>]*) as [^<>]*>", r"\1", shorter)
        if shorter == name:
            shorter = re.sub(r"(::)?<[^<>]*>", "", name)
        if shorter == name:
            break
        name = shorter
    return name.strip(":<> ") or "?"


def tree(stacks):
    root = {"count": 0, "calls": {}}
    for stack, count in stacks.items():
        root["count"] += count
        node = root
        for frame in stack:
            node = node["calls"].setdefault(frame, {"count": 0, "calls": {}})
            node["count"] += count
    return root


def drawn(stacks, title):
    root = tree(stacks)
    scale, boxes = (WIDTH - 2 * SIDE) / root["count"], []

    def place(node, left, depth):
        for frame, call in sorted(node["calls"].items()):
            if call["count"] >= LEAST * root["count"]:
                boxes.append((frame, call["count"], left, depth))
                place(call, left, depth + 1)
            left += call["count"] * scale

    place(root, SIDE, 0)
    rows = max(depth for _, _, _, depth in boxes) + 1
    height = TOP + rows * ROW + SIDE
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace" font-size="11">',
           f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
           f'<text x="{SIDE}" y="18" font-size="14">{escape(title)}</text>']
    left = SIDE
    for whose, colour in COLOURS.items():
        out.append(f'<rect x="{left}" y="27" width="11" height="11" fill="{colour}"/><text x="{left + 15}" y="37">{whose}</text>')
        left += 40 + 7 * len(whose)
    for (whose, name), count, left, depth in boxes:
        width, top = count * scale, height - SIDE - (depth + 1) * ROW
        fits = int((width - 4) / 6.7)
        text = name if len(name) <= fits else "…" + name[len(name) - fits + 1:] if fits > 4 else ""
        out.append(f'<g><title>{escape(name)}: {count / root["count"]:.1%}</title><rect x="{left:.1f}" y="{top}" '
                   f'width="{width:.1f}" height="{ROW - 1}" fill="{COLOURS[whose]}"/>'
                   + (f'<text x="{left + 3:.1f}" y="{top + 12}">{escape(text)}</text>' if text else "") + "</g>")
    return "\n".join([*out, "</svg>", ""])


if __name__ == "__main__":
    main()
