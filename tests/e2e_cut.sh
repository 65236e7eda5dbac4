#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# e2e_cut.sh - writers at full speed, 48 scrapers at once in three formats: every response is one cut
#
#	RESPONSES=100000 make check T=e2e_cut
#
# Responses are collected at full speed, a batch at a time, and then read by parsers that are not
# ours while the writers are halted; see e2e_check_pages.py for what has to hold in each of them, and
# between one and the next of a connection. promtool reads the last text page of each connection.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build/release}
responses=${RESPONSES:-6000}
batch=3000
scrapers=48
python=/usr/bin/python3 # the one that Debian's packages are for
for tool in promtool curl $python; do
	if ! command -v "$tool" >/dev/null; then
		echo "$tool is missing"
		exit 77
	fi
done
if ! $python -c 'import google.protobuf, prometheus_client.openmetrics' 2>/dev/null; then
	echo "python3-prometheus-client or python3-protobuf is missing"
	exit 77
fi

place=$(mktemp -d /dev/shm/kvtap-test.cut.XXXXXX)
writers=()
pids=()
clean() {
	local status=$?
	if [ ${#pids[@]} != 0 ]; then
		kill "${pids[@]}" 2>/dev/null || true
		signal CONT || true
		wait
	fi
	rm -rf "$place"
	exit $status
}
trap clean EXIT

signal() { # name
	kill -s "$1" "${writers[@]}" 2>/dev/null
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
	echo "not in 60 s: $*"
	cat "$place/exporter.log"
	exit 1
}

export KVTAP_DIR=$place
"$build/kvtap-exporter" --web.listen-address=127.0.0.1:0 --web.cut-timeout=60s 2>"$place/exporter.log" &
pids+=($!)
wait_for grep -q -s msg=Listening "$place/exporter.log"
port=$(sed -n -E 's/.*msg=Listening address="?[^ ]*:([0-9]+)"?.*/\1/p' "$place/exporter.log" | head -n 1)
for engine in 0 1; do
	"$build/tests/e2e_writers" $engine 1 >"$place/writer.$engine" &
	writers+=($!)
	pids+=($!)
	wait_for grep -q -s ready "$place/writer.$engine"
done
# from then on every page has all series
is_on_page() { # regular expression
	curl --fail --silent --show-error "http://127.0.0.1:$port/metrics" | grep -E "$1" >/dev/null
}
wait_for is_on_page '^vllm:kv_offload_store_size_count.*engine="1"'

lint() {
	local page
	for page in "$place"/answers/*.text; do
		# a colon is what vLLM's names have
		promtool check metrics <"$page" >"$place/lint" 2>&1 || true
		if grep -v -E "^vllm:[a-z_]+ metric names should not contain ':'$" "$place/lint"; then
			echo "promtool check metrics complained"
			exit 1
		fi
	done
}

# Both halves at once: one for each of two CPUs.
check() {
	local half status=0
	for half in 0 1; do
		$python tests/e2e_check_pages.py "$place"/answers/*[$((half == 0 ? 0 : 5))-$((half == 0 ? 4 : 9))] \
			>"$place/checked.$half" 2>&1 &
		halves[half]=$!
	done
	for half in 0 1; do
		wait "${halves[half]}" || status=1
		grep -v '^checked ' "$place/checked.$half" | head -n 20 || true
		sed -n 's/^checked //p' "$place/checked.$half" | tr ' ' '\n' >>"$place/counts"
	done
	return $status
}

scraping=0 checking=0 began=$EPOCHREALTIME halves=()
since() { # time of $EPOCHREALTIME: milliseconds
	echo $(((${EPOCHREALTIME/./} - ${1/./}) / 1000))
}
for ((left = responses; left > 0; left -= batch)); do
	mkdir "$place/answers"
	signal CONT
	began=$EPOCHREALTIME
	"$build/tests/e2e_scrapers" "$port" $scrapers $((left < batch ? left : batch)) "$place/answers"
	((scraping += $(since "$began"), 1))
	signal STOP
	began=$EPOCHREALTIME
	check || {
		echo "a response is torn or inconsistent"
		exit 1
	}
	lint
	((checking += $(since "$began"), 1))
	rm -r "$place/answers"
done
total=$(awk -F = '/\// { sum += $2 } END { print sum + 0 }' "$place/counts")
[ "$total" = "$responses" ] || {
	echo "$total responses were checked, not $responses"
	exit 1
}
for type in text/plain application/openmetrics-text application/vnd.google.protobuf; do
	grep -q "^$type=" "$place/counts" || {
		echo "no response was $type, though a third of the scrapers ask for it"
		exit 1
	}
done
awk -F = '{ sum[$1] += $2 } END { for (key in sum) printf "%s=%d\n", key, sum[key] }' "$place/counts" | sort
echo "$total responses, scraped in $scraping ms, checked in $checking ms"
