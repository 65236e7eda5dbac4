# SPDX-License-Identifier: Apache-2.0
"""Every built-in family, as vLLM's own client library would serve it.

    /usr/bin/python3 tests/e2e_families.py FOLDER

The families of e2e_families.tsv are registered with client_python, and what the worker records is
observed there too. The exporter's page has to be what client_python makes of it: names, types, help,
labels, their order and escaping, bounds as text, which series are there, and values.
"""
import errno
import json
import os
import re
import subprocess
import sys

from support_e2e import Exporter, Failed, Worker
from support_vllm import (ENGINES, KINDS, KVTAP, MODEL, ROWS, Expected, openmetrics_parser,
                          parsed)

TIER = "1:fs"
OURS = ("vllm:", "kvtap_transfer_", "kvtap_expired_requests")
GROUPS = list(dict.fromkeys(row.group for row in ROWS.values()))


def family_of(line):
    return line.split()[2] if line[0] == "#" else re.match("[a-zA-Z0-9_:]*", line)[0]


def built_in(page):
    """The families in question, as text and as client_python reads it."""
    lines = [line for line in page.splitlines() if line and family_of(line).startswith(OURS)]
    return lines, parsed("\n".join(lines) + "\n")


def same(what, expected, found):
    """Two of anything that can be sorted."""
    missing, more = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing or more:
        raise Failed("\n".join([f"{what}: expected (-), and on the page (+)"]
                               + [f"-{item}" for item in missing[:20]]
                               + [f"+{item}" for item in more[:20]]))


def lines_of(lines):
    """The text that is not a value; of kvtap's own families any help will do."""
    return [re.sub(r"^(# HELP kvtap_\S+) .+", r"\1", line) if line[0] == "#"
            else line.rsplit(" ", 1)[0] for line in lines]


def types_of(families):
    return [(name, family[0]) for name, family in families.items()]


def values_of(families):
    return [(name, tuple(sorted(labels)), value) for family, (_, _, samples) in families.items()
            if family.startswith(OURS) for (name, labels), value in samples.items()]


def compare(what, expected, exporter):
    """Returns: the page."""
    page = exporter.scrape()
    want, found = built_in(expected.text()), built_in(page)
    same(what, lines_of(want[0]), lines_of(found[0]))
    same(what, types_of(want[1]), types_of(found[1]))
    same(what, values_of(want[1]), values_of(found[1]))
    openmetrics = exporter.scrape("application/openmetrics-text;version=1.0.0")
    same(what + ", OpenMetrics", values_of(want[1]), values_of(parsed(openmetrics, True)))
    return page


# ---- what is recorded


def record_transfer(worker, expected, tap, kind, labels, ended=0):
    """Times are sums of powers of two, so that nothing is rounded."""
    fields = {"duration": 0.25, "submit": 0.0625, "queue": 0.03125, "bytes": 5 << 20,
              "descriptors": 40, "failed_descriptors": 3, "ended": ended}
    ns = {key: int(fields[key] * 1e9) for key in ("duration", "submit", "queue")}
    worker.do("transfer", tap, kind, **labels, **{**fields, **ns})
    fields.update(one=1, device=0.15625, throughput=(5 << 20) * 4)
    expected.transfer(kind, ENGINES[tap], labels, fields)


def labels_of(kind):
    if kind == "vllm:mooncake_store":
        return {"operation": "save_put", "status": "partial_failure"}
    return {"tier": TIER} if KINDS[kind][0] == "tiering" else {}


def labels_of_family(row):
    values = {"tier": TIER, "operation": "load_get", "status": "error"}
    return {label: values[label] for label in row.labels if label in values}


def record_kinds(worker, expected, kinds):
    for kind in kinds:
        record_transfer(worker, expected, 0, kind, labels_of(kind))
        record_transfer(worker, expected, 0, kind, labels_of(kind), ended=1)


def by_name(group):
    """The families that a record can name: those of transfers too, unless a label is theirs alone."""
    return [row for row in ROWS.values() if row.group == group and row.name not in KVTAP
            and "transfer_type" not in row.labels]


def record_scalars(worker, expected, group):
    for row in by_name(group):
        word, value = {"counter": ("add", 3), "gauge": ("set", 0.375),
                       "histogram": ("observe", 0.0625)}[row.type]
        labels = labels_of_family(row)
        worker.do(word, 0, row.name.removesuffix("_total"), value=value, **labels)
        if row.start == "asked":
            expected.register(row)
        expected.update(row.name, ENGINES[0], {"connector": "MooncakeConnector", **labels}, value)


def kinds_of(group):
    """Of the deprecated families, those that mirror to them."""
    group = "offload" if group == "offload-deprecated" else group
    return [kind for kind in KINDS if KINDS[kind][0] == group]


def open_engines(worker, groups, model=MODEL):
    for tap, engine in enumerate(ENGINES):
        worker.do("open", tap, model=model, engine=engine, groups=",".join(groups) or None)


# ---- the tests


def test_group_alone(folder, group):
    """A worker with two engines that opts in to one group."""
    with Exporter(folder) as exporter, Worker(folder) as worker:
        open_engines(worker, [group])
        expected = Expected([group])
        compare("before a record", expected, exporter)
        kinds = kinds_of(group)
        if group == "offload-deprecated":
            expected.add(["offload"])
        record_kinds(worker, expected, kinds)
        record_scalars(worker, expected, group)
        compare("after the records", expected, exporter)


def test_group_by_first_use(folder, group):
    """Asking for one built-in, whichever, opts in to the whole group."""
    asked = [(kind, labels_of(kind)) for kind in KINDS if KINDS[kind][0] == group]
    asked += [(row.name.removesuffix("_total"), labels_of_family(row)) for row in by_name(group)
              if row.start != "asked"]
    with Exporter(folder) as exporter, Worker(folder) as worker:
        open_engines(worker, [])
        compare("without a group", Expected([]), exporter)
        for tap, (name, labels) in enumerate((asked[0], asked[-1])):
            worker.do("builtin", tap, name, **labels)
        compare("asked for by name", Expected([group]), exporter)


def test_all_groups(folder):
    """All at once: every transfer feeds its own families and kvtap's, with labels that are given."""
    model, tier, peer = 'a "quoted" \\model\nof two lines', 'back\\slash\\n "1":fs\n', "h\u00f6st:1"
    with Exporter(folder, "--log.interval=1d", "--log.interval-format=json") as exporter, \
            Worker(folder) as worker:
        open_engines(worker, GROUPS, model)
        expected = Expected(GROUPS, model)
        compare("before a record", expected, exporter)
        record_kinds(worker, expected, KINDS)
        for group in GROUPS:
            record_scalars(worker, expected, group)
        for kind in KINDS:
            for ended in range(8):
                labels = {**labels_of(kind), "tier": tier, "peer": peer, "device": str(ended)}
                record_transfer(worker, expected, 1, kind, labels, ended)
        record_transfer(worker, expected, 1, "vllm:nixl_transfer", {"peer": peer})
        record_transfer(worker, expected, 1, "vllm:nixl_transfer", {"tier": tier})
        check_lint(compare("after the records", expected, exporter))
    check_log(exporter.out, model)


def check_log(path, model):
    """A line of JSON for each engine, of all connectors; all of a transfer's ends were recorded."""
    with open(path, encoding="utf-8") as log:
        lines = [json.loads(line) for line in log]
    same("engines in the log", [(model, engine) for engine in ENGINES],
         [(line["model_name"], line["engine"]) for line in lines])
    for line in lines:
        same("connectors in the log", [kind[1] for kind in KINDS.values()], line["connectors"])
    found = {line["engine"]: line["connectors"]["NixlPullConnector"] for line in lines}
    same("transfers in the log", [("0", 1, 1), ("1", 3, 7)],
         [(engine, figures["Num successful transfers"], figures["Num failed transfers"])
          for engine, figures in found.items()])


def check_lint(page):
    """promtool is of the opinion that no exporter may have a colon in a name."""
    said = subprocess.run(["promtool", "check", "metrics"], input=page, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.splitlines()
    wrong = [line for line in said if line.startswith("kvtap_") or "error" in line]
    if wrong:
        raise Failed("promtool check metrics: " + "; ".join(wrong))


def requests_of(page):
    """Of each histogram: the requests that its exemplars name."""
    requests = {}
    for family in openmetrics_parser.text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.exemplar:
                requests.setdefault(family.name, []).append(sample.exemplar.labels)
    return requests


def test_exemplars(folder):
    """Each histogram that a transfer feeds names the request of the slowest."""
    with Exporter(folder) as exporter, Worker(folder) as worker:
        open_engines(worker, ["kvtap"])
        for request, duration in ((41, 1000), (42, 9000), (43, 2000)):
            worker.do("transfer", 0, "vllm:nixl_transfer", duration=duration, bytes=1 << 20,
                      request=request)
        fed = [name for name in (*KINDS["vllm:nixl_transfer"][3], *KVTAP)
               if ROWS[name].type == "histogram"]
        same("requests", [(name, "42") for name in fed],
             [(name, labels["request_id"]) for name, all_labels in requests_of(
                 exporter.scrape("application/openmetrics-text;version=1.0.0")).items()
              for labels in all_labels])


def test_refusals(folder):
    """What the families do not have is refused when the series is asked for."""
    refused = (("vllm:nixl", {}), ("vllm:kv_offload_load_bytes_total", {}),
               ("vllm:kv_offload_tiering_read", {}), ("vllm:kv_offload_tiering_chunk_hits", {}),
               ("vllm:kv_offload_tiering_promotion_allocation_failures", {"tier": TIER}),
               ("vllm:mooncake_store", {"operation": "save_put"}),
               ("vllm:mooncake_store", {"status": "ok"}),
               ("vllm:nixl_transfer", {"operation": "save_put"}),
               ("vllm:nixl_num_kv_expired_reqs", {"tier": TIER}))
    with Worker(folder) as worker:
        open_engines(worker, GROUPS)
        for name, labels in refused:
            if worker.answer("builtin", 0, name, **labels) != -errno.EINVAL:
                raise Failed(f"not refused: {name} {labels}")


def run(name, test, folder, *arguments):
    try:
        test(os.path.join(folder, name), *arguments)
        print("ok", name, flush=True)
        return 0
    except (Failed, OSError, ValueError) as failure:
        print(f"{failure}\nnot ok {name}", flush=True)
        return 1


def main():
    failed = 0
    for group in GROUPS:
        failed += run(f"families_of_{group}_alone", test_group_alone, sys.argv[1], group)
        if group != "offload-deprecated":  # of which nothing can be asked for
            failed += run(f"families_of_{group}_by_first_use", test_group_by_first_use,
                          sys.argv[1], group)
    failed += run("families_of_all_groups", test_all_groups, sys.argv[1])
    failed += run("families_name_a_request_as_exemplar", test_exemplars, sys.argv[1])
    failed += run("families_refuse_labels_they_do_not_have", test_refusals, sys.argv[1])
    return 1 if failed else 0


sys.exit(main())
