#!/usr/bin/env python3
"""Draws a file that COHORT_TRACE made as an SVG picture: a row for each worker, a bar for each task.

usage: COHORT_TRACE=run.json build/release/examples/trace
       docs/trace_svg.py run.json "a quarter each" "measured" "the longest first" > docs/trace.svg
"""
import json
import sys
from html import escape

WIDTH, LEFT, RIGHT = 800, 80, 20
ROW, BAR, HEAD, GAP = 18, 13, 26, 14
COLOURS = {"ok": "#4a90c4", "error": "#e8a33d", "died": "#d0433b", "timeout": "#a05195",
           "cancelled": "#888"}
TITLES = sys.argv[2:]  # one for each pool


def load(path):
    text = open(path).read().rstrip().rstrip(",")
    return json.loads(text if text.endswith("]") else text + "]")  # of a killed program


def draw_pool(pool, title, events, top, start, scale, out):
    """The pool's rows; answers the y below them."""
    tasks = [e for e in events if e.get("cat") == "task" and e["pid"] == pool]
    workers = sorted({e["tid"] for e in tasks})
    out.append(f'<text x="{LEFT}" y="{top + 17}" font-weight="bold">{escape(title)}</text>')
    for row, worker in enumerate(workers):
        y = top + HEAD + row * ROW
        mine = [e for e in tasks if e["tid"] == worker]
        busy = sum(e["dur"] for e in mine)
        length = max(e["ts"] + e["dur"] for e in tasks) - start[pool]
        out.append(f'<text x="{LEFT - 8}" y="{y + 11}" text-anchor="end">worker {worker - 1}</text>')
        out.append(f'<rect x="{LEFT}" y="{y}" width="{length * scale:.1f}" height="{BAR}" fill="#eee"/>')
        for e in mine:
            x, width = LEFT + (e["ts"] - start[pool]) * scale, max(e["dur"] * scale - 0.4, 0.4)
            out.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" '
                       f'fill="{COLOURS[e["args"]["outcome"]]}"/>')
        x = LEFT + length * scale + 6
        out.append(f'<text x="{x:.1f}" y="{y + 11}" fill="#666">{100 * busy / length:.0f} %</text>')
    return top + HEAD + len(workers) * ROW + GAP


def main():
    events = load(sys.argv[1])
    pools = sorted({e["pid"] for e in events if e.get("cat") == "task"})
    # From the map's first task on: the calls before it only see to it that the workers are there.
    start = {}
    for pool in pools:
        of_map = [e for e in events if e.get("cat") == "task" and e["pid"] == pool and e["dur"] > 1000]
        start[pool] = min(e["ts"] for e in of_map)
    events = [e for e in events if e.get("cat") == "task" and e["ts"] >= start[e["pid"]]]
    longest = max(e["ts"] + e["dur"] - start[e["pid"]] for e in events)
    scale = (WIDTH - LEFT - RIGHT - 40) / longest

    out, grid, top = [], [], 0
    for number, pool in enumerate(pools):
        title = TITLES[number] if number < len(TITLES) else f"pool {pool}"
        top = draw_pool(pool, title, events, top, start, scale, out)
    for ms in range(0, int(longest / 1000) + 1, 100):
        x = LEFT + ms * 1000 * scale
        grid.append(f'<line x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{top}" stroke="#ccc" stroke-dasharray="2 3"/>')
        grid.append(f'<text x="{x:.1f}" y="{top + 14}" text-anchor="middle">{ms} ms</text>')
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + 22}" width="{WIDTH}" '
          f'height="{top + 22}" font-family="sans-serif" font-size="11">')
    print('<rect width="100%" height="100%" fill="#fff"/>')
    print("\n".join(grid + out))
    print("</svg>")


main()
