# SPDX-License-Identifier: Apache-2.0
"""Plots as SVG by hand: bars on one axis, and panels of lines. Text stays text; colours follow the reader's scheme.

Knows nothing of benches. The same values give the same bytes.
"""
import math
from html import escape

WIDTH = 760
COLOURS = ["#2f81f7", "#d4762c", "#3fa45b", "#a371f7", "#d1515f", "#8b949e", "#1b9e9e", "#b08800"]
STYLE = """<style>
text{font:12px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#1f2328}
.title{font-weight:600;font-size:14px}.quiet{fill:#59636e;font-size:11px}
.back{fill:#fff}.grid{stroke:#d1d9e0}.axis{stroke:#818b98}.mark{stroke:#1f2328;stroke-width:2}
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.quiet{fill:#9198a1}.back{fill:#0d1117}
.grid{stroke:#3d444d}.axis{stroke:#656c76}.mark{stroke:#f0f6fc}}
</style>"""


def number(value):
    """As a person reads it: three digits that count, thousands apart."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def short(value):
    for unit, size in ((" G", 1e9), (" M", 1e6), (" k", 1e4)):
        if value >= size:
            return number(value / (1e3 if unit == " k" else size)) + unit
    return number(value)


def text(x, y, words, anchor="start", kind=None, turn=None):
    more = f' class="{kind}"' if kind else ""
    more += f' text-anchor="{anchor}"' if anchor != "start" else ""
    more += f' transform="rotate({turn} {x:.0f} {y:.0f})"' if turn else ""
    return f'<text x="{x:.0f}" y="{y:.0f}"{more}>{escape(words)}</text>'


def line(x1, y1, x2, y2, kind):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def document(title, height, parts):
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
            f'height="{height:.0f}" role="img" aria-label="{escape(title)}">')
    back = f'<rect class="back" width="{WIDTH}" height="{height:.0f}" rx="6"/>'
    return "\n".join([head, STYLE, back, text(16, 26, title, kind="title"), *parts, "</svg>"]) + "\n"


class Scale:
    """Values to pixels, and the values worth a tick."""

    def __init__(self, values, first, last, log):
        self.first, self.last, self.log = first, last, log
        low, high = min(values), max(values)
        if log:
            self.low = 10 ** math.floor(math.log10(low) + 1e-9)
            self.high = 10 ** max(math.ceil(math.log10(high) - 1e-9), round(math.log10(self.low)) + 1)
        else:
            self.low, self.high = 0, high or 1
            self.high = math.ceil(self.high / self.step()) * self.step()

    def step(self):
        rough = self.high / 5
        power = 10 ** math.floor(math.log10(rough))
        return next(power * times for times in (1, 2, 5, 10) if power * times >= rough * 0.999)

    def ticks(self):
        if not self.log:
            return [i * self.step() for i in range(round(self.high / self.step()) + 1)]
        powers = range(round(math.log10(self.low)), round(math.log10(self.high)) + 1)
        return [10.0 ** power for power in powers]

    def __call__(self, value):
        if self.log:
            share = math.log10(value / self.low) / math.log10(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.first + share * (self.last - self.first)


def bars(title, axis, rows, log=False, mark=None):
    """Horizontal bars; rows: (label, value, colour index, marked value or None); mark: what marks are."""
    left, right = 30 + 6.4 * max(len(label) for label, *_ in rows), WIDTH - 90
    top, pitch = 44, 22
    bottom = top + pitch * len(rows)
    marks = [marked for *_, marked in rows if marked]
    scale = Scale([value for _, value, *_ in rows] + marks, left, right, log)
    parts = []
    for tick in scale.ticks():
        parts += [line(scale(tick), top, scale(tick), bottom, "grid"),
                  text(scale(tick), bottom + 16, short(tick), "middle", "quiet")]
    for i, (label, value, colour, marked) in enumerate(rows):
        y = top + pitch * i
        parts += [text(left - 8, y + 15, label, "end"),
                  f'<rect x="{left:.1f}" y="{y + 4}" width="{scale(value) - left:.1f}" height="{pitch - 8}" '
                  f'fill="{COLOURS[colour]}"/>',
                  text(max(scale(value), scale(marked or scale.low)) + 6, y + 15, number(value))]
        if marked:
            parts.append(line(scale(marked), y + 2, scale(marked), y + pitch - 2, "mark"))
    parts += [line(left, top, left, bottom, "axis"),
              text((left + right) / 2, bottom + 34, axis + (f"; {mark}" if marks else ""), "middle", "quiet")]
    return document(title, bottom + 46, parts)


def legend(names, y):
    """Name by name from the left, on as many lines as it takes; returns the parts and the next line's y."""
    parts, x = [], 16
    for i, name in enumerate(names):
        wide = 34 + 6.4 * len(name)
        if x + wide > WIDTH:
            x, y = 16, y + 18
        parts += [f'<rect x="{x:.0f}" y="{y - 9:.0f}" width="12" height="10" fill="{COLOURS[i % len(COLOURS)]}"/>',
                  text(x + 17, y, name)]
        x += wide
    return parts, y + 18


def panel(box, heading, x_axis, y_axis, curves, names, logs):
    """curves: {name: [(x, y), ...]}; box: left, top, right, bottom of the whole panel."""
    left, top, right, bottom = box[0] + 64, box[1] + 22, box[2] - 24, box[3] - 40
    points = [point for curve in curves.values() for point in curve]
    across = Scale([x for x, _ in points], left, right, logs[0])
    up = Scale([y for _, y in points], bottom, top, logs[1])
    parts = [text(left, top - 8, heading)] if heading else []
    for tick in across.ticks():
        parts += [line(across(tick), top, across(tick), bottom, "grid"),
                  text(across(tick), bottom + 15, short(tick), "middle", "quiet")]
    for tick in up.ticks():
        parts += [line(left, up(tick), right, up(tick), "grid"),
                  text(left - 6, up(tick) + 4, short(tick), "end", "quiet")]
    parts += [line(left, top, left, bottom, "axis"), line(left, bottom, right, bottom, "axis"),
              text((left + right) / 2, bottom + 32, x_axis, "middle", "quiet"),
              text(box[0] + 12, (top + bottom) / 2, y_axis, "middle", "quiet", -90)]
    for name, curve in curves.items():
        colour = COLOURS[names.index(name) % len(COLOURS)]
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in curve)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3" fill="{colour}"/>' for x, y in curve]
    return parts


def panels(title, plots, columns, height=230):
    """plots: (heading, x axis, y axis, curves, (log x, log y)); one legend for all of them."""
    names = list(dict.fromkeys(name for plot in plots for name in plot[3]))
    parts, top = legend(names, 48) if len(names) > 1 else ([], 36)
    wide = WIDTH / columns
    for i, (heading, x_axis, y_axis, curves, logs) in enumerate(plots):
        x, y = i % columns * wide, top + i // columns * height
        parts += panel((x, y, x + wide, y + height), heading, x_axis, y_axis, curves, names, logs)
    return document(title, top + math.ceil(len(plots) / columns) * height + 4, parts)
