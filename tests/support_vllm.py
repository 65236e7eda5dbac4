# SPDX-License-Identifier: Apache-2.0
"""What vLLM would serve of the same records: its families, registered with client_python.

The table is e2e_families.tsv; which families a transfer feeds is said here. Knows nothing of kvtap
but the names of its kinds of transfer.
"""
import os
import re

os.environ["PROMETHEUS_DISABLE_CREATED_SERIES"] = "True"  # read by the import
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client import parser as text_parser

from support_e2e import Failed

MODEL = "llama"
ENGINES = ("0", "1")
METRIC = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}
CLASSES = ("error", "timeout", "peer", "space", "cancelled", "other")  # of status 1 to 6

# kind: group, connector, direction, families that a transfer feeds: (field, when it was)
KINDS = {
    "vllm:kv_offload_load": ("offload", "OffloadingConnector", "load", {
        "vllm:kv_offload_load_bytes": ("bytes", "ok"),
        "vllm:kv_offload_load_time": ("duration", "ok"),
        "vllm:kv_offload_load_size": ("bytes", "ok"),
        "vllm:kv_offload_total_bytes": ("bytes", "ok"),
        "vllm:kv_offload_total_time": ("duration", "ok"),
        "vllm:kv_offload_size": ("bytes", "ok")}),
    "vllm:kv_offload_store": ("offload", "OffloadingConnector", "store", {
        "vllm:kv_offload_store_bytes": ("bytes", "ok"),
        "vllm:kv_offload_store_time": ("duration", "ok"),
        "vllm:kv_offload_store_size": ("bytes", "ok"),
        "vllm:kv_offload_total_bytes": ("bytes", "ok"),
        "vllm:kv_offload_total_time": ("duration", "ok"),
        "vllm:kv_offload_size": ("bytes", "ok")}),
    "vllm:kv_offload_tiering_read": ("tiering", "OffloadingConnector", "read", {
        "vllm:kv_offload_tiering_read_bytes": ("bytes", "ok"),
        "vllm:kv_offload_tiering_read_time": ("duration", "ok"),
        "vllm:kv_offload_tiering_promotion_job_failures": ("one", "failed")}),
    "vllm:kv_offload_tiering_write": ("tiering", "OffloadingConnector", "write", {
        "vllm:kv_offload_tiering_write_bytes": ("bytes", "ok"),
        "vllm:kv_offload_tiering_write_time": ("duration", "ok"),
        "vllm:kv_offload_tiering_cascade_job_failures": ("one", "failed")}),
    "vllm:nixl_transfer": ("nixl", "NixlPullConnector", "transfer", {
        "vllm:nixl_xfer_time_seconds": ("duration", "ok"),
        "vllm:nixl_post_time_seconds": ("submit", "ok"),
        "vllm:nixl_bytes_transferred": ("bytes", "ok"),
        "vllm:nixl_num_descriptors": ("descriptors", "ok"),
        "vllm:nixl_num_failed_transfers": ("one", "failed")}),
    "vllm:mooncake_send": ("kvtap", "MooncakeConnector", "send", {}),
    "vllm:mooncake_receive": ("kvtap", "MooncakeConnector", "receive", {}),
    "vllm:mooncake_store": ("mooncake-store", "MooncakeStoreConnector", None, {
        "vllm:mooncake_store_operation_time_seconds": ("duration", "always"),
        "vllm:mooncake_store_operation_total": ("one", "always"),
        "vllm:mooncake_store_operation_keys_total": ("descriptors", "always"),
        "vllm:mooncake_store_operation_bytes_total": ("bytes", "always"),
        "vllm:mooncake_store_operation_failed_keys_total": ("failed_descriptors", "always")}),
    "vllm:hf3fs_save": ("hf3fs", "HF3FSKVConnector", "save", {
        "vllm:hf3fs_save_duration_seconds": ("duration", "ok"),
        "vllm:hf3fs_num_failed_save": ("one", "failed")}),
    "vllm:hf3fs_load": ("hf3fs", "HF3FSKVConnector", "load", {
        "vllm:hf3fs_load_duration_seconds": ("duration", "ok"),
        "vllm:hf3fs_num_failed_load": ("one", "failed")}),
}
# of every kind, where the group kvtap is there
KVTAP = {
    "kvtap_transfer_size_bytes": ("bytes", "ok"),
    "kvtap_transfer_duration_seconds": ("duration", "ok"),
    "kvtap_transfer_submit_seconds": ("submit", "ok"),
    "kvtap_transfer_queue_seconds": ("queue", "ok"),
    "kvtap_transfer_device_seconds": ("device", "ok"),
    "kvtap_transfer_throughput_bytes_per_second": ("throughput", "ok"),
    "kvtap_transfer_descriptors": ("descriptors", "ok"),
    "kvtap_transfer_failures": ("one", "failed"),
}


class Row:
    """A line of e2e_families.tsv."""

    def __init__(self, line):
        self.group, self.name, self.type, labels, bounds, start, self.help = line.split("\t")
        self.labels = [] if labels == "-" else labels.split(",")
        self.bounds = [] if bounds == "-" else [float(bound) for bound in bounds.split()]
        self.start, _, values = start.partition(":")
        self.start_values = [[value] for value in values.split(",")] if values else [[]]


with open(os.path.join(os.path.dirname(__file__), "e2e_families.tsv"), encoding="utf-8") as table:
    ROWS = {row.name: row
            for row in (Row(line.rstrip("\n")) for line in table if not line.startswith("#"))}


class Expected:
    """A process that has registered groups of families, for engines, and observes what is told."""

    def __init__(self, groups, model=MODEL, engines=ENGINES):
        self.registry, self.metrics, self.model = CollectorRegistry(), {}, model
        self.engines = engines
        self.add(groups)

    def add(self, groups):
        for row in ROWS.values():
            if row.group in groups and row.start != "asked" and row.name not in self.metrics:
                self.register(row)

    def register(self, row):
        more = {"buckets": row.bounds} if row.bounds else {}
        metric = METRIC[row.type](row.name, row.help, ["model_name", "engine"] + row.labels,
                                  registry=self.registry, **more)
        self.metrics[row.name] = metric
        if row.start == "zero":
            for engine in self.engines:
                for values in row.start_values:
                    metric.labels(self.model, engine, *values)

    def update(self, name, engine, labels, value):
        row = ROWS[name]
        child = self.metrics[name].labels(self.model, engine,
                                          *(labels.get(label) or "" for label in row.labels))
        getattr(child, {"counter": "inc", "gauge": "set", "histogram": "observe"}[row.type])(value)

    def transfer(self, kind, engine, labels, fields):
        _, connector, direction, feeds = KINDS[kind]
        labels = {"connector": connector, "direction": direction or labels.get("operation"),
                  "transfer_type": {"load": "CPU_to_GPU", "store": "GPU_to_CPU"}.get(direction),
                  **labels}
        if fields["ended"]:
            labels["class"] = CLASSES[min(fields["ended"], len(CLASSES)) - 1]
        for name, (field, when) in {**feeds, **KVTAP}.items():
            if name in self.metrics and when in ("always", "failed" if fields["ended"] else "ok"):
                self.update(name, engine, labels, fields[field])

    def samples(self):
        """Of all families: (name, labels): value."""
        return {(sample.name, frozenset(sample.labels.items())): sample.value
                for family in self.registry.collect() for sample in family.samples}

    def text(self):
        # every tagged client_python writes e+010 for e+10
        text = re.sub(r"e\+0([0-9]{2})", r"e+\1", generate_latest(self.registry).decode())
        # kvtap's label that is not given is not there
        return re.sub(r',?(tier|peer|device)=""', "", text)


def parsed(page, openmetrics=False):
    """Family: its type and help, and {(sample, labels): value}, by client_python's parsers."""
    families = {}
    parser = openmetrics_parser if openmetrics else text_parser
    for family in parser.text_string_to_metric_families(page):
        if family.name in families:
            raise Failed(f"twice on the page: {family.name}")
        samples = {(sample.name, frozenset(sample.labels.items())): sample.value
                   for sample in family.samples}
        if len(samples) != len(family.samples):
            raise Failed(f"a sample twice: {family.name}")
        families[family.name] = family.type, family.documentation, samples
    return families
