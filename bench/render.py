#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Render the figures of "make bench": README.md's tables and the plots beside this file.

OUTPUT is what "make bench" printed. The tables go between the lines

  <!-- bench: begin -->
  <!-- bench: end -->

of README.md; the plots are bench/record.svg, peers.svg, drain.svg, scrape.svg and growth.svg. A line that lacks
what a table or a plot needs is left out of it, and a table or a plot without lines is not made. The same
output gives the same bytes. bench/results.txt is the output that README.md has now.
"""
import argparse
import math
import pathlib
import re
import sys

sys.dont_write_bytecode = True  # nothing is left beside the sources
import render_svg as svg  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"

# The keys that say what a line is about, and how they read; the others are figures.
WORDS = {
    "mode": "{}", "way": "{}", "peer": "{}", "server": "{}", "kind": "{}", "client": "{}",
    "size": "{}", "threads": "{} threads", "workers": "{} workers", "series": "{} series", "rings": "{} rings",
    "rate_per_s": "{} records/s", "clock": "clock {}", "timed": "", "log": "log {}", "format": "{}", "gzip": "gzip {}",
    "transfers_per_step": "{} a step", "block_bytes": "blocks of {}", "batch": "{} a job", "exporter": "exporter {}",
    "ring": "ring {}", "pause": "after a pause: {}", "group": "groups of {}", "groups_after_pause": "",
    "apart_ns": "CPUs {} ns apart", "of": "{}",
}
SIZES = ("apart_ns", "series", "rings", "block_bytes", "batch", "size")
USUAL = {"clock": ("caller", "none"), "log": ("off",), "gzip": ("0",), "ring": ("drained",)}  # not worth a word
NAMES = {
    "prometheus_cpp": "prometheus-cpp", "lttng_ust": "LTTng-UST", "ck_ring": "Concurrency Kit",
    "vllm_path": "vLLM's path", "client_python": "client_python",
    "client_python_multiprocess": "client_python multiprocess", "raw": "bare sendmsg",
    "kvtap_rest": "kvtap at rest", "kvtap_recording": "kvtap, a worker records",
}
TITLES = {
    "record": "What a record costs the thread that records",
    "peers": "The same transfer, recorded by others",
    "drain": "What one exporter thread takes",
    "scrape": "A scrape, text, one connection",
    "growth": "Cost against size",
}


# ---- lines ----

class Line(dict):
    """key=value, in their order; a value is text, figure() makes it a number."""

    def figure(self, key):
        try:
            value = float(self[key])
        except (KeyError, ValueError):
            return None
        return value if math.isfinite(value) else None

    def has(self, *keys):
        return all(self.figure(key) is not None for key in keys)

    def words(self, without=()):
        parts = [WORDS[key].format(readable(key, value)) for key, value in self.items()
                 if key in WORDS and key not in without and value not in USUAL.get(key, ())]
        return ", ".join(re.sub(r"^1 (thread|worker|ring)s$", r"1 \1", part) for part in parts if part)


def parse(text):
    found = []
    for row in text.splitlines():
        pairs = re.findall(r'(\w+)=("[^"]*"|\S+)', row)
        if row.startswith("env ") or (pairs and pairs[0][0] == "bench"):
            found.append(Line((key, value.strip('"')) for key, value in pairs))
    return found


def readable(key, value):
    if key == "block_bytes":
        return bytes_of(int(value))
    if value.isdigit():
        return f"{int(value):,}"
    return NAMES.get(value, value.replace("_", " "))


def bytes_of(count):
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:g} {unit}"
    return f"{count} bytes"


def shown(line, key):
    """Ratios to a control are about 1, where three digits tell little."""
    value = line.figure(key)
    if value is None:
        return ""
    return f"{value:.4f}" if key == "ratio_p50" else svg.number(value)


def key_words(key):
    """ns_per_op_p50: "ns per op, median"; ns_p99_9: "ns, p99.9"."""
    base, percentile = re.fullmatch(r"(.*?)(?:_p(\d+(?:_\d+)?))?", key).groups("")
    percentile = percentile.replace("_", ".")
    words = " ".join("µs" if word == "us" else word for word in base.split("_"))
    return words + ("" if not percentile else ", median" if percentile == "50" else f", p{percentile}")


def select(lines, bench, *figures, **values):
    return [line for line in lines if line.get("bench") == bench and line.has(*figures) and
            all(line.get(key) in (value if isinstance(value, tuple) else (value,)) for key, value in values.items())]


# ---- tables ----

def table(head, rows):
    if not rows:
        return []
    rule = "|---" * len(head) + "|"
    return ["| " + " | ".join(head) + " |", rule] + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def limits(line):
    """(key, sign, limit) of each bar of a line."""
    return re.findall(r"(\w+)(>=|<=)([^,]+)", line.get("bar", ""))


def share(line):
    """How far a line is to the worst of its limits: above 1 it is missed."""
    return max(float(limit) / max(line.figure(key), 1e-9) if sign == ">=" else line.figure(key) / float(limit)
               for key, sign, limit in limits(line))


def wanted(lines):
    """Limits in words. Those that differ from line to line are a control of each."""
    same = len({line["bar"] for line in lines}) == 1
    return "; ".join(f"{key_words(key)} {'≥' if sign == '>=' else '≤'} "
                     f"{svg.number(float(limit)) if same else 'that of its control'}"
                     for key, sign, limit in limits(lines[0]))


def bars_table(lines):
    """A row for each thing; sizes that it was measured at are folded into the worst one's figure."""
    groups = {}
    for line in lines:
        if limits(line) and line.has(*[key for key, _, _ in limits(line)]):
            keys = tuple(key for key, _, _ in limits(line))
            groups.setdefault((line["bench"], line.words(without=SIZES), keys), []).append(line)
    rows = []
    for (bench, words, keys), group in groups.items():
        worst, met = max(group, key=share), sum(line.get("met") == "yes" for line in group)
        figure = "; ".join(shown(worst, key) for key in keys)
        if len(group) == 1:
            rows.append([f"{bench}: {worst.words()}", wanted(group), figure, worst.get("met", "")])
        else:
            where = worst.words(without=[key for key in WORDS if key not in SIZES])
            rows.append([f"{bench}: {words}", wanted(group), f"{figure} (worst, {where})",
                         "yes" if met == len(group) else f"{met} of {len(group)}"])
    return table(["what", "bar", "figure", "met"], rows)


def listing(lines, bench, keys, **values):
    """A row a line: what it is about, and these figures."""
    chosen = [line for line in lines if line.get("bench") == bench and
              (line.has(keys[0]) or "missing" in line) and
              all(line.get(key) in value for key, value in values.items())]
    rows = []
    for line in chosen:
        figures = [shown(line, key) for key in keys]
        rows.append([line.words()] + ([f"missing: {line['missing']}"] + figures[1:] if "missing" in line else figures))
    return table([bench] + [key_words(key) for key in keys], rows)


def pivot(lines, row_keys, column_keys, key, head, scale=1.0):
    """A row for what row_keys say, a column for what column_keys say."""
    rows, columns = {}, []
    for line in lines:
        column = line.words(without=[name for name in WORDS if name not in column_keys])
        row = tuple(readable(name, line.get(name, "")) for name in row_keys)
        rows.setdefault(row, {})[column] = svg.number(line.figure(key) * scale)
        columns += [column] if column not in columns else []
    return table(head + columns, [list(row) + [cells.get(column, "") for column in columns]
                                  for row, cells in rows.items()])


def nearest(lines):
    """Without those that were measured with CPUs further apart than the nearest that were met."""
    apart = [float(line["apart_ns"]) for line in lines if "apart_ns" in line]
    return [line for line in lines if "apart_ns" not in line or float(line["apart_ns"]) == min(apart)]


def picture(plots, name):
    return [f"![{TITLES[name]}](bench/{name}.svg)", ""] if plots[name] else []


def tables(lines, plots):
    env = next((line for line in lines if "cpu" in line and "bench" not in line), Line())
    machine = f"{env.get('cpu', 'unknown')}, {env.get('cpus', '?')} CPUs, Linux {env.get('kernel', '?')}, " \
              f"{env.get('cc', '?')} {env.get('flags', '')}, commit {env.get('commit', '?')}"
    parts = [
        bars_table(lines),
        picture(plots, "record"),
        listing(nearest(lines), "record", ["ns_per_op_p50", "ns_per_op_p99", "floor_ns", "ratio"],
                mode=("handle", "thread_found", "batch_8", "batch_32"), threads=("1", "2", "64")),
        picture(plots, "peers"),
        listing(lines, "peers", ["ns_per_op_p50", "ns_per_op_p99", "times_kvtap"],
                way=[line.get("way") for line in lines if line.get("peer") != "vllm_path"] + ["sum"]),
        picture(plots, "drain"),
        pivot(select(lines, "drain", "records_per_s"), ["series", "rings"], ["kind", "log"], "records_per_s",
              ["drain, million records/s: series", "rings"], 1e-6),
        listing(lines, "lag", ["us_p50", "us_p99", "cpu_percent"]),
        pivot(select(lines, "overhead", "percent", ring="drained", block_bytes="16384"),
              ["block_bytes", "batch", "exporter"], ["mode"], "percent",
              ["overhead, % over off: block", "blocks a job", "exporter"]),
        picture(plots, "scrape"),
        pivot(select(lines, "scrape", "us_p50", format="text", gzip="0"), ["series"], ["server"], "us_p50",
              ["scrape, µs: series"]),
        growth_table(lines),
        ["[Plots of it](bench/growth.svg)", ""] if plots["growth"] else [],
    ]
    return ["", machine + ". From `bench/results.txt` by `bench/render.py`.", "",
            *[row for part in parts for row in part]]


def replaced(readme, lines, plots):
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        sys.exit(f"README.md needs one line each: {BEGIN} and {END}")
    before, rest = readme.split(BEGIN)
    after = rest.split(END)[1]
    return before + BEGIN + "\n" + "\n".join(tables(lines, plots)) + END + after


# ---- growth: each thing that grows has figures of its own, and a line with the slope ----

def growth(lines):
    """{(what, key of the figure): [(size, figure)]}."""
    found = {}
    for line in select(lines, "growth", "size"):
        for key in line:
            if key.endswith("_p50") and line.has(key):
                found.setdefault((line["of"], key), []).append((line.figure("size"), line.figure(key)))
    return {what: sorted(points) for what, points in found.items()}


def growth_table(lines):
    slopes = {(line["of"], line["figure"] + "_p50"): line for line in select(lines, "growth", "slope")}
    rows = []
    for (of, key), points in growth(lines).items():
        ends = [f"{svg.number(figure)} at {svg.number(size)}" for size, figure in (points[0], points[-1])]
        slope = slopes.get((of, key), Line())
        rows.append([readable("of", of), key_words(key), *ends, slope.get("slope", ""), slope.get("expected", "")])
    return table(["growth with", "figure", "least", "most", "slope", "expected"], rows)


# ---- plots ----

def curves(lines, name, x, y, scale=1.0):
    found = {}
    for line in lines:
        found.setdefault(name(line), []).append((line.figure(x), line.figure(y) * scale))
    return {key: sorted(points) for key, points in found.items() if len(points) > 1}


def most_common(lines, key):
    values = [line.get(key) for line in lines]
    return max(dict.fromkeys(values), key=values.count) if values else None


def record_plot(lines):
    def label(line):
        clock = line.get("clock")
        return line["mode"].replace("_", " ") + (f" ({clock})" if clock in ("monotonic", "tsc") else "")

    recorded = [line for line in select(lines, "record", "ns_per_op_p50", "floor_ns", threads="1")
                if not line["mode"].startswith("floor")]
    rows = [(label(line), line.figure("ns_per_op_p50"), 0, line.figure("floor_ns")) for line in nearest(recorded)]
    return rows and svg.bars(TITLES["record"], "ns per record, median", rows,
                             mark="the mark is the floor: the same lines stored plainly")


def peers_plot(lines):
    rows = []
    for line in select(lines, "peers", "ns_per_op_p50"):
        if line.get("peer") != "vllm_path" or line.get("way") == "sum":
            rows.append((line.words(without=("way",) if line.get("way") == "sum" else ()), line.figure("ns_per_op_p50"),
                         0 if line["peer"] == "kvtap" else 5, None))
    return rows and svg.bars(TITLES["peers"], "ns per transfer, median, log scale", rows, log=True)


def drain_plot(lines):
    def name(line):
        return line.get("kind", "").replace("_", " ") + (", log on" if line.get("log") == "on" else "")

    drained, plots = select(lines, "drain", "records_per_s", "series", "rings"), []
    for along, fixed in (("series", "rings"), ("rings", "series")):
        value = most_common(drained, fixed)
        lots = curves([line for line in drained if line.get(fixed) == value], name, along, "records_per_s", 1e-6)
        if lots:
            heading = Line({fixed: value}).words()
            plots.append((heading, f"{along}, log scale", "million records/s", lots, (True, False)))
    return plots and svg.panels(TITLES["drain"], plots, 2, 300)


def scrape_plot(lines):
    lots = curves(select(lines, "scrape", "us_p50", "series", format="text", gzip="0"),
                  lambda line: readable("server", line["server"]), "series", "us_p50")
    plot = ("", "series on the page, log scale", "µs from request to last byte, median, log scale", lots, (True, True))
    return lots and svg.panels(TITLES["scrape"], [plot], 1, 380)


def growth_plot(lines):
    plots = []
    for (of, key), points in growth(lines).items():
        if len(points) > 1 and points[0][0] > 0:
            name = readable("of", of)
            plots.append((name, f"{name}, log scale", key_words(key), {"kvtap": points}, (True, False)))
    return plots and svg.panels(TITLES["growth"], plots, 2)


PLOTS = {"record": record_plot, "peers": peers_plot, "drain": drain_plot, "scrape": scrape_plot, "growth": growth_plot}


def rendered(lines):
    """{path: text}; an empty text: there is no such file."""
    plots = {name: plot(lines) or "" for name, plot in PLOTS.items()}
    readme = ROOT / "README.md"
    return {readme: replaced(readme.read_text(), lines, plots),
            **{ROOT / "bench" / f"{name}.svg": plot for name, plot in plots.items()}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", metavar="OUTPUT", nargs="?", default="-", help="file; default: standard input")
    parser.add_argument("--check", action="store_true",
                        help="write nothing; fail and say which file is not what OUTPUT gives")
    arguments = parser.parse_args()
    text = sys.stdin.read() if arguments.output == "-" else pathlib.Path(arguments.output).read_text()
    wrong = 0
    for path, new in rendered(parse(text)).items():
        old = path.read_text() if path.exists() else ""
        if arguments.check and old != new:
            print(f"{path.relative_to(ROOT)} is not what {arguments.output} gives")
            wrong = 1
        elif not arguments.check and new:
            path.write_text(new)
        elif not arguments.check:
            path.unlink(missing_ok=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
