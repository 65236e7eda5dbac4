#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# e2e_native.sh - the real prometheus scrapes native histograms, and their quantiles are right
#
# A worker records sizes of a known distribution. histogram_quantile over the native histogram may be
# off by one bucket, a factor of 2^(1/8) in schema 3, from the exact quantile of what was recorded.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build/release}
records=100000
factor=1.0905077326652577 # 2^(1/8)
family=vllm:kv_offload_load_size
for tool in prometheus promtool curl; do
	if ! command -v $tool >/dev/null; then
		echo "$tool is missing"
		exit 77
	fi
done

place=$(mktemp -d /dev/shm/kvtap-test.native.XXXXXX)
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

# The value of a query that returns one.
value() {
	promtool query instant "http://$prometheus" "$1" | sed -n -E 's/.*=> ([^ ]+) @.*/\1/p'
}

export KVTAP_DIR=$place
"$build/kvtap-exporter" --web.listen-address=127.0.0.1:0 --web.cut-timeout=60s 2>"$place/exporter.log" &
pids+=($!)
wait_for listens "$place/exporter.log" 'msg=Listening'
exporter=$address

accept='application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited'
type=$(curl --fail --silent --show-error --output "$place/page" --write-out '%{content_type}' \
	--header "Accept: $accept" "http://$exporter/metrics")
[[ $type == application/vnd.google.protobuf* ]] ||
	fail "native histograms need protobuf, but asked for it the exporter sends '$type'"

cat >"$place/prometheus.yml" <<END
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: kvtap
    static_configs:
      - targets: ['$exporter']
END
prometheus --enable-feature=native-histograms --config.file="$place/prometheus.yml" \
	--storage.tsdb.path="$place/data" --web.listen-address=127.0.0.1:0 2>"$place/prometheus.log" &
pids+=($!)
wait_for listens "$place/prometheus.log" 'msg="Listening on"'
prometheus=$address
"$build/tests/e2e_sizes" $records 7 >"$place/quantiles" &
pids+=($!)
wait_for grep -q -s '^0.99 ' "$place/quantiles"

# histogram_count is of native histograms alone
all_scraped() {
	[ "$(value "histogram_count($family)")" = $records ]
}
wait_for all_scraped

while read -r quantile exact; do
	found=$(value "histogram_quantile($quantile, $family)")
	awk -v found="$found" -v exact="$exact" -v factor=$factor \
		'BEGIN { exit !(found >= exact / factor && found <= exact * factor) }' ||
		fail "quantile $quantile: $found, exactly $exact: off by more than a factor of $factor"
	echo "quantile $quantile: $found, exactly $exact"
done <"$place/quantiles"
[ "$(value 'min_over_time(up{job="kvtap"}[10m])')" = 1 ] || fail "a scrape failed"
