# SPDX-License-Identifier: Apache-2.0
"""Check scrapes with parsers that are not ours.

    /usr/bin/python3 tests/e2e_check_pages.py FILE...

A file has the answers that one connection got, in order: a line "BYTES CONTENT-TYPE", then the body.
Text and OpenMetrics are read by client_python's parsers, protobuf by Google's library. In every page
each histogram's buckets add up to its count, counters agree with the histograms that the same records
feed, and nothing but gauges is smaller than in the page before. The last text page of a file is
left in FILE.text. Exits with 1 if a page is wrong.
"""
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

# What the same records feed: of one engine (and shard), each line's sums are equal.
AGREE = (
    (["vllm:kv_offload_load_bytes_total"], ["vllm:kv_offload_load_size_sum"]),
    (["vllm:kv_offload_store_bytes_total"], ["vllm:kv_offload_store_size_sum"]),
    (["vllm:nixl_xfer_time_seconds_count"], ["vllm:nixl_post_time_seconds_count"]),
    (["vllm:nixl_xfer_time_seconds_count"], ["vllm:nixl_bytes_transferred_count"]),
    (["vllm:nixl_xfer_time_seconds_count"], ["vllm:nixl_num_descriptors_count"]),
    (["load_moves_total"], ["load_move_bytes_count", "load_move_failed_total"]),
)

# io.prometheus.client, as far as it is read here: message -> field -> (number, type, repeated)
MESSAGES = {
    "LabelPair": {"name": (1, "string", 0), "value": (2, "string", 0)},
    "Value": {"value": (1, "double", 0)},
    "Span": {"offset": (1, "sint32", 0), "length": (2, "uint32", 0)},
    "Bucket": {"cumulative_count": (1, "uint64", 0), "upper_bound": (2, "double", 0)},
    "Histogram": {
        "sample_count": (1, "uint64", 0), "sample_sum": (2, "double", 0),
        "bucket": (3, "Bucket", 1), "schema": (5, "sint32", 0),
        "zero_count": (7, "uint64", 0),
        "negative_span": (9, "Span", 1), "negative_delta": (10, "sint64", 1),
        "positive_span": (12, "Span", 1), "positive_delta": (13, "sint64", 1),
    },
    "Metric": {
        "label": (1, "LabelPair", 1), "gauge": (2, "Value", 0), "counter": (3, "Value", 0),
        "untyped": (5, "Value", 0), "histogram": (7, "Histogram", 0),
    },
    "MetricFamily": {
        "name": (1, "string", 0), "help": (2, "string", 0), "type": (3, "int32", 0),
        "metric": (4, "Metric", 1),
    },
}
TYPES = ("counter", "gauge", "summary", "untyped", "histogram")


class Wrong(Exception):
    pass


def metric_family():
    """The class of MetricFamily, made from the table above."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="metrics.proto", package="client", syntax="proto2")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for key, (number, kind, repeated) in fields.items():
            new = message.field.add(name=key, number=number)
            new.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            if kind in MESSAGES:
                new.type, new.type_name = field.TYPE_MESSAGE, ".client." + kind
            else:
                new.type = getattr(field, "TYPE_" + kind.upper())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.MessageFactory(pool).GetPrototype(
        pool.FindMessageTypeByName("client.MetricFamily"))


MetricFamily = metric_family()


def varint(body, at):
    value = shift = 0
    while True:
        value |= (body[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if body[at - 1] < 128:
            return value, at


def check_native(name, histogram):
    """The populations of a native histogram's buckets add up to its count."""
    if not (histogram.positive_span or histogram.negative_span or histogram.zero_count):
        return
    total = histogram.zero_count
    for spans, deltas in ((histogram.positive_span, histogram.positive_delta),
                          (histogram.negative_span, histogram.negative_delta)):
        if sum(span.length for span in spans) != len(deltas):
            raise Wrong(f"{name}: {len(deltas)} deltas do not fill the spans")
        population = 0
        for delta in deltas:
            population += delta
            if population < 0:
                raise Wrong(f"{name}: a native bucket is negative")
            total += population
    if total != histogram.sample_count:
        raise Wrong(f"{name}: native buckets {total}, count {histogram.sample_count}")


def expand(name, labels, histogram):
    """The samples that the other formats have of a histogram."""
    check_native(name, histogram)
    last = None
    for bucket in histogram.bucket:
        last = bucket.upper_bound
        yield name + "_bucket", {**labels, "le": last}, bucket.cumulative_count
    if last != float("inf"):
        yield name + "_bucket", {**labels, "le": float("inf")}, histogram.sample_count
    yield name + "_sum", labels, histogram.sample_sum
    yield name + "_count", labels, histogram.sample_count


def read_protobuf(body):
    at = 0
    while at < len(body):
        size, at = varint(body, at)
        if at + size > len(body):
            raise Wrong("the last family is cut off")
        family = MetricFamily.FromString(body[at:at + size])
        at += size
        kind = TYPES[family.type]
        samples = []
        for metric in family.metric:
            labels = {label.name: label.value for label in metric.label}
            if kind == "histogram":
                samples += expand(family.name, labels, metric.histogram)
            else:
                samples.append((family.name, labels, getattr(metric, kind).value))
        yield kind, samples


def by_client_python(read, body):
    for family in read(body.decode()):
        yield family.type, [sample[:3] for sample in family.samples]


def check_histogram(samples):
    """For each label set: buckets in order that never fall, the last is +Inf and is the count."""
    series = {}
    for name, labels, value in samples:
        key = tuple(sorted(item for item in labels.items() if item[0] != "le"))
        series.setdefault(key, []).append((name, labels, value))
    for group in series.values():
        bounds = [float(labels["le"]) for name, labels, _ in group if name.endswith("_bucket")]
        counts = [value for name, _, value in group if name.endswith("_bucket")]
        count = [value for name, _, value in group if name.endswith("_count")]
        name = group[0][0]
        if bounds != sorted(set(bounds)) or not bounds or bounds[-1] != float("inf"):
            raise Wrong(f"{name}: bounds {bounds}")
        if counts != sorted(counts) or counts[-1:] != count:
            raise Wrong(f"{name}: buckets {counts}, count {count}")
        if not any(name.endswith("_sum") for name, _, _ in group):
            raise Wrong(f"{name}: no sum")


def check_agreement(values):
    names = {}
    for (name, labels), value in values.items():
        names.setdefault(name, {})[labels] = value
    for left, right in AGREE:
        if any(name not in names for name in left + right):
            raise Wrong(f"not on the page: {left} {right}")
        for labels in names[left[0]]:
            one, other = (sum(names[name].get(labels, 0) for name in side) for side in (left, right))
            if one != other:
                raise Wrong(f"{labels}: {left} {one}, {right} {other}")


def check_page(families, before):
    """Returns the values of all that never falls."""
    values = {}
    for kind, samples in families:
        if kind == "histogram":
            check_histogram(samples)
        if kind in ("counter", "histogram"):
            for name, labels, value in samples:
                key = name, tuple(sorted((label, str(text)) for label, text in labels.items()))
                if key in values:
                    raise Wrong(f"twice: {key}")
                values[key] = value
    check_agreement(values)
    for key, value in before.items():
        if values.get(key, -1) < value:
            raise Wrong(f"{key}: {values.get(key)}, before {value}")
    return values


READERS = {
    "text/plain": lambda body: by_client_python(read_text, body),
    "application/openmetrics-text": lambda body: by_client_python(read_openmetrics, body),
    "application/vnd.google.protobuf": read_protobuf,
}


def check_file(path, counts):
    before, text, wrong = {}, None, 0
    with open(path, "rb") as file:
        while head := file.readline().decode():
            size, kind = head.strip().split(" ", 1)
            body = file.read(int(size))
            kind = kind.split(";")[0]
            try:
                if len(body) != int(size) or kind not in READERS:
                    raise Wrong(f"{len(body)} of {size} bytes of {kind}")
                before = check_page(READERS[kind](body), before)
            except Exception as error:  # whatever a parser thinks of it
                wrong += 1
                print(f"{path}: {kind}: {type(error).__name__}: {error}")
            counts[kind] = counts.get(kind, 0) + 1
            text = body if kind == "text/plain" else text
    if text:
        with open(path + ".text", "wb") as file:
            file.write(text)
    return wrong


def main():
    counts = {}
    wrong = sum(check_file(path, counts) for path in sys.argv[1:])
    print("checked", *(f"{kind}={count}" for kind, count in sorted(counts.items())), f"wrong={wrong}")
    return 1 if wrong or not counts else 0


sys.exit(main())
