"""One SVG with a bar for each ratio: a panel for each subject, a group of bars for each work."""
import math
from xml.sax.saxutils import escape

import targets
from report import REFERENCE

COLOURS = ["#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2", "#9c755f", "#edc948",
           "#ff9da7", "#7f7f7f", "#8cd17d", "#17205c"]
BAR, GROUP_GAP, HEAD, LABEL, SCALE, RIGHT = 9, 7, 34, 190, 330, 60
PANEL = LABEL + SCALE + RIGHT
LOW, HIGH = 0.1, 200


def position(ratio):
    """@return where a ratio lies on the logarithmic axis, in pixels"""
    clipped = min(max(ratio, LOW), HIGH)
    return LABEL + SCALE * math.log(clipped / LOW) / math.log(HIGH / LOW)


def draw(results):
    """@return the chart as SVG"""
    names = list(dict.fromkeys(key[2] for key in results.series if key[2] != REFERENCE))
    colours = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(names)}
    panels = {}
    for subject, work in results.rows():
        row = results.of(subject, work)
        if REFERENCE in row and len(row) > 1:
            panels.setdefault(subject, []).append((work, row))
    columns = [[], []]
    heights = [0, 0]
    for subject, rows in panels.items():
        shorter = heights.index(min(heights))
        columns[shorter].append((heights[shorter], subject, rows))
        heights[shorter] += panel_height(rows)
    top = 70 + 16 * math.ceil(len(names) / 6)
    body = []
    for column, content in enumerate(columns):
        for offset, subject, rows in content:
            heading = f"{subject}: {results.titles.get(subject, '')}"
            body += panel(subject, heading, rows, column * (PANEL + 30) + 10, top + offset, colours)
    width, height = 2 * PANEL + 50, top + max(heights, default=0) + 20
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        '<text x="10" y="24" font-size="17" font-weight="bold">peelfs against each peer, on the same '
        'data in the same run</text>',
        '<text x="10" y="42" fill="#555">Bars: how many times as good peelfs is (median of rounds; the '
        'thin line spans median to best). Right of 1: peelfs is ahead. Black mark: target.</text>',
        *legend(names, colours), *body, "</svg>"]) + "\n"


def legend(names, colours):
    for at, name in enumerate(names):
        x, y = 10 + at % 6 * 190, 54 + at // 6 * 16
        yield f'<rect x="{x}" y="{y}" width="10" height="10" fill="{colours[name]}"/>'
        yield f'<text x="{x + 15}" y="{y + 9}">{escape(name)}</text>'


def panel_height(rows):
    return HEAD + sum(BAR * (len(row) - 1) + GROUP_GAP for _, row in rows) + 24


def panel(subject, heading, rows, left, top, colours):
    height = panel_height(rows) - 24
    out = [f'<g transform="translate({left},{top})">',
           f'<text x="0" y="14" font-size="13" font-weight="bold">{escape(subject)}</text>']
    for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100):
        x = position(tick)
        out.append(f'<line x1="{x:.1f}" y1="{HEAD - 6}" x2="{x:.1f}" y2="{height}" '
                   f'stroke="{"#000" if tick == 1 else "#ddd"}"/>')
        out.append(f'<text x="{x:.1f}" y="{HEAD - 9}" text-anchor="middle" fill="#777" '
                   f'font-size="9">{tick:g}</text>')
    y = HEAD
    for work, row in rows:
        ours = row[REFERENCE]
        peers = [(name, series) for name, series in row.items() if name != REFERENCE]
        middle = y + BAR * len(peers) / 2 + 4
        out.append(f'<text x="{LABEL - 8}" y="{middle:.1f}" text-anchor="end">{escape(work)}</text>')
        for name, series in peers:
            out += bar(subject, work, name, ours.ratio_to(series, "median"),
                       ours.ratio_to(series, "best"), y, colours[name])
            y += BAR
        y += GROUP_GAP
    return [*out, "</g>"]


def bar(subject, work, name, median, best, y, colour):
    one, end = position(1), position(median)
    middle = y + (BAR - 1) / 2
    yield (f'<rect x="{min(one, end):.1f}" y="{y}" width="{max(abs(end - one), 1):.1f}" '
           f'height="{BAR - 1}" fill="{colour}"><title>{escape(f"{subject} {work}: {name}")}: '
           f'median {median:.2f}, best {best:.2f}</title></rect>')
    yield (f'<line x1="{end:.1f}" y1="{middle}" x2="{position(best):.1f}" y2="{middle}" '
           'stroke="black" stroke-width="0.6"/>')
    text = max(one, end, position(best)) + 4
    yield (f'<text x="{text:.1f}" y="{y + BAR - 1.5}" font-size="8.5" fill="#333">'
           f'{median:.2f}</text>')
    for target in targets.ALL:
        if target.concerns(subject, work, name):
            x = position(target.at_least)
            yield (f'<line x1="{x:.1f}" y1="{y - 1}" x2="{x:.1f}" y2="{y + BAR}" stroke="black" '
                   'stroke-width="2"/>')
