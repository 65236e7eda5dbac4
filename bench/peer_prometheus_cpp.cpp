// SPDX-License-Identifier: Apache-2.0
//
// peer_prometheus_cpp.cpp - prometheus-cpp's exposer with as many counters as it is told
//
//	peer_prometheus_cpp COUNT
//
// With the labels that bench_scrape's workers have. Says "port=NUMBER" and serves until it is ended.

#include <prometheus/counter.h>
#include <prometheus/exposer.h>
#include <prometheus/registry.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	auto registry = std::make_shared<prometheus::Registry>();
	auto &family = prometheus::BuildCounter()
			       .Name("bench_requests_total")
			       .Help("Requests that were answered.")
			       .Register(*registry);
	for (long i = 0; i < std::atol(argv[1]); i++) {
		std::string worker = std::to_string(i);

		worker.insert(0, worker.size() < 6 ? 6 - worker.size() : 0, '0');
		family.Add({ { "code", "200" },
			     { "handler", "/api/v1/query_range" },
			     { "method", "get" },
			     { "worker", worker } })
			.Increment(1);
	}
	prometheus::Exposer exposer{ "127.0.0.1:0", 2 };
	exposer.RegisterCollectable(registry);
	std::printf("port=%d\n", exposer.GetListeningPorts().at(0));
	std::fflush(stdout);
	pause();
}
