/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.h - processes that answer scrapes on loopback: the exporter, and whom it is compared with
 *
 * Each is ended by its pid, and by the kernel if the bench is killed. What is not installed is
 * missing and not a failure.
 */
#ifndef KVTAP_BENCH_SERVER_H
#define KVTAP_BENCH_SERVER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct server {
	pid_t pid; /* 0: not running */
	uint16_t port;
	int said_fd;	     /* what it printed after it said where it listens */
	const char *missing; /* what to install; NULL: it is there */
};

/* server_exporter - kvtap-exporter, built beside the bench, on the folder dir */
void server_exporter(struct server *server, const char *dir);
/* server_nginx - one worker process with sendfile serves dir/metrics, to which it must have access */
void server_nginx(struct server *server, const char *dir);
/* server_raw - one sendmsg an answer, a thread for each connection; page: [bytes], borrowed */
void server_raw(struct server *server, const char *page, size_t bytes);
/* server_prometheus_cpp - prometheus-cpp's exposer with so many counters */
void server_prometheus_cpp(struct server *server, uint32_t series);
void server_stop(struct server *server);

/* server_resident_bytes - of its process */
uint64_t server_resident_bytes(const struct server *server);
/* server_cpu_ns - CPU time of all its threads so far */
uint64_t server_cpu_ns(const struct server *server);
/* server_wakeups - how often one of its threads has slept so far */
uint64_t server_wakeups(const struct server *server);

#endif
