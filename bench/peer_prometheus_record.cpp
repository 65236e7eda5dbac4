// SPDX-License-Identifier: Apache-2.0
//
// peer_prometheus_record.cpp - prometheus-cpp: two counters and a histogram for each transfer
//
// held: the three objects were looked up before, which is the fastest way; nobody scrapes meanwhile.
// lookup: Family::Add with the labels at each transfer, as code does that has them only then.

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include "peer.h"

namespace
{

#define BURST 1024

using prometheus::Counter;
using prometheus::Histogram;

const Histogram::BucketBoundaries bounds{ 1e6,	5e6,  10e6,  20e6,  40e6,
					  60e6, 80e6, 100e6, 150e6, 200e6 };
const prometheus::Labels labels{ { "model_name", "llama" }, { "engine", "0" } };

prometheus::Registry registry;
auto &bytes_family = prometheus::BuildCounter()
			     .Name("vllm:kv_offload_load_bytes")
			     .Help("Total bytes loaded from offload storage to GPU.")
			     .Register(registry);
auto &time_family = prometheus::BuildCounter()
			    .Name("vllm:kv_offload_load_time")
			    .Help("Total load time from offload storage to GPU, in seconds.")
			    .Register(registry);
auto &size_family = prometheus::BuildHistogram()
			    .Name("vllm:kv_offload_load_size")
			    .Help("Histogram of KV offload load operation size, in bytes.")
			    .Register(registry);
Counter &bytes_counter = bytes_family.Add(labels);
Counter &time_counter = time_family.Add(labels);
Histogram &size_histogram = size_family.Add(labels, bounds);

void record_held(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		double bytes = static_cast<double>(peer_bytes(i));

		bytes_counter.Increment(bytes);
		time_counter.Increment(static_cast<double>(peer_duration_ns(i)) * 1e-9);
		size_histogram.Observe(bytes);
	}
}

void record_lookup(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		double bytes = static_cast<double>(peer_bytes(i));

		bytes_family.Add(labels).Increment(bytes);
		time_family.Add(labels).Increment(static_cast<double>(peer_duration_ns(i)) * 1e-9);
		size_family.Add(labels, bounds).Observe(bytes);
	}
}

// 0 unless the counter and the histogram agree
void arrived(uint64_t *transfers, uint64_t *bytes)
{
	const auto histogram = size_histogram.Collect().histogram;

	*transfers = histogram.sample_count;
	*bytes = histogram.sample_sum == bytes_counter.Value()
			 ? static_cast<uint64_t>(bytes_counter.Value())
			 : 0;
}

} // namespace

int main()
{
	const peer_way ways[] = { { "held", BURST, record_held, nullptr, nullptr },
				  { "lookup", BURST, record_lookup, nullptr, nullptr } };
	const peer self = { PEER_VERSION, ways, 2, arrived };

	return peer_serve(&self);
}
