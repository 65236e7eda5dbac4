#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# e2e_prometheus.sh - the real prometheus scrapes each second while workers record
#
# Afterwards PromQL has to return every counter, sum, count and bucket that the workers print of
# themselves, no other series of theirs, no reset, and every scrape was good. BUILD: what is tested.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build/release}
for tool in prometheus promtool curl; do
	if ! command -v $tool >/dev/null; then
		echo "$tool is missing"
		exit 77
	fi
done

place=$(mktemp -d /dev/shm/kvtap-test.prometheus.XXXXXX)
pids=()
clean() {
	local status=$?
	if [ ${#pids[@]} != 0 ]; then
		kill "${pids[@]}" 2>/dev/null || true
		wait
	fi
	rm -rf "$place"
	exit $status
}
trap clean EXIT

fail() {
	echo "$*"
	tail -n 20 "$place"/*.log
	exit 1
}

# Wait until a command succeeds, at most 60 s.
wait_for() {
	local tries
	for ((tries = 0; tries < 600; tries++)); do
		if "$@"; then
			return
		fi
		sleep 0.1
	done
	fail "not in 60 s: $*"
}

# The address that a log says a program listens on.
listens() { # log, pattern
	address=$(sed -n -E "s/.*$2 address=\"?[^ ]*:([0-9]+)\"?.*/127.0.0.1:\1/p" "$1" | head -n 1)
	[ -n "$address" ]
}

query() {
	promtool query instant "http://$prometheus" "$1"
}

# The value of a query that returns one.
value() {
	query "$1" | sed -n -E 's/.*=> ([^ ]+) @.*/\1/p'
}

export KVTAP_DIR=$place
"$build/kvtap-exporter" --web.listen-address=127.0.0.1:0 --web.cut-timeout=60s 2>"$place/exporter.log" &
pids+=($!)
wait_for listens "$place/exporter.log" 'msg=Listening'
exporter=$address

cat >"$place/prometheus.yml" <<END
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: kvtap
    static_configs:
      - targets: ['$exporter']
END
promtool check config "$place/prometheus.yml" >/dev/null
prometheus --config.file="$place/prometheus.yml" --storage.tsdb.path="$place/data" \
	--web.listen-address=127.0.0.1:0 2>"$place/prometheus.log" &
pids+=($!)
wait_for listens "$place/prometheus.log" 'msg="Listening on"'
prometheus=$address

scraped_after() { # seconds since the epoch
	local at
	at=$(value 'timestamp(up{job="kvtap"})')
	[ -n "$at" ] && awk -v at="$at" -v after="$1" 'BEGIN { exit !(at > after) }'
}

now() {
	date +%s.%N
}

# A worker that ends, and one with the same labels that goes on with its series.
engine_that_restarts() {
	"$build/tests/e2e_worker" 1 3 11 >"$place/worker.1"
	"$build/tests/e2e_worker" 1 3 12 >"$place/worker.2"
}

wait_for scraped_after 0
"$build/tests/e2e_worker" 0 7 10 >"$place/worker.0" &
first=$!
engine_that_restarts &
second=$!
pids+=("$first" "$second")
wait "$first"
wait "$second"
pids=("${pids[@]:0:2}")

# Every value has at most 15 digits, so that %.15g shows all of them.
cat "$place"/worker.[012] |
	awk '{ sum[$1] += $2 } END { for (key in sum) printf "%s %.15g\n", key, sum[key] }' |
	sort >"$place/expected"
compare() {
	query '{__name__=~"load_.*|vllm:.*"}' |
		sed -E 's/(instance|job)="[^"]*",? ?//g; s/, /,/g; s/,\}/}/; s/ => / /; s/ @.*//' |
		awk '{ printf "%s %.15g\n", $1, $2 }' | sort >"$place/found"
	diff "$place/expected" "$place/found" ||
		fail "expected (<) is what the workers recorded, found (>) what PromQL returns"
}
for ((round = 0; round < 2; round++)); do
	wait_for scraped_after "$(now)"
	compare
done

is() { # query, expected value
	local found
	found=$(value "$1")
	[ "$found" = "$2" ] || fail "$1: $found, not $2"
}
total() { # regular expression of a key in the expected samples
	awk -v key="$1" '$1 ~ key { sum += $2 } END { printf "%.0f", sum }' "$place/expected"
}

is 'sum(vllm:kv_offload_load_bytes_total)' "$(total '^vllm:kv_offload_load_bytes_total')"
is 'sum(vllm:nixl_xfer_time_seconds_count)' "$(total '^vllm:nixl_xfer_time_seconds_count')"
is 'sum(vllm:nixl_num_failed_transfers_total) > 0' "$(total '^vllm:nixl_num_failed_transfers')"
is 'sum(vllm:kv_offload_store_size_bucket{le="5e+06"})' \
	"$(total '^vllm:kv_offload_store_size_bucket.*le="5e[+]06"')"
is 'sum(kvtap_records_drained_total) + sum(kvtap_records_folded_total)' $(((700 + 600) * 300))
is 'sum(kvtap_records_lost_total)' 0
# resets() drops the name, by which alone some series differ
is 'sum(resets(label_replace({job="kvtap",__name__=~".*_(total|count|bucket)"},
	"name", "$1", "__name__", "(.*)")[10m:1s]))' 0
is 'min_over_time(up{job="kvtap"}[10m])' 1
# of each scrape an up, and of each good one a sample: as many at one moment, however many
scrapes=$(value 'sum_over_time(up{job="kvtap"}[10m])')
[ "$scrapes" -ge 1 ] || fail "no scrape"
is 'count_over_time(up{job="kvtap"}[10m]) - count_over_time(kvtap_workers{job="kvtap"}[10m])' 0
# of this target: what prometheus says of its own storage or clock is no matter of ours
if grep -E 'level=(error|warn)' "$place/prometheus.log" | grep -F -e "$exporter" -e scrape_pool=kvtap; then
	fail "prometheus complained"
fi

# promtool is of the opinion that no exporter may have a colon in a name; vLLM's names have it
curl --fail --silent "http://$exporter/metrics" >"$place/page"
promtool check metrics <"$place/page" >"$place/lint" 2>&1 || true
if grep -v -E "^vllm:[a-z_]+ metric names should not contain ':'$" "$place/lint"; then
	fail "promtool check metrics complained"
fi
echo "$scrapes scrapes, $(wc -l <"$place/found") samples as recorded, $(wc -l <"$place/lint") allowed lint lines"
