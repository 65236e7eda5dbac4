#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# soak.sh - workers with new label sets come and go; what the exporter needs does not grow
#
#   BUILD=build/release SOAK_SECONDS=120 tests/soak.sh
#
# About 600 new series a second, which may go 5 s after their worker. The exporter's resident memory
# is read each second, beside scrapes in all formats; its median in the last quarter of the time is at
# most 10 % and 1 MB above that in the second quarter, when all that is made once has been made. An
# hour (3600) is meant to be run by hand.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build/release}
seconds=${SOAK_SECONDS:-120}
place=$(mktemp -d /dev/shm/kvtap-test.soak.XXXXXX)
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

verdict() { # passed, failed
	echo "$1 passed, $2 failed, 0 skipped"
	exit "$2"
}

fail() {
	tail -n 5 "$place/log"
	echo "not ok soak # $*"
	verdict 0 1
}

export KVTAP_DIR=$place
: >"$place/log" # which is looked at before the exporter may have opened it
"$build/kvtap-exporter" --web.listen-address=127.0.0.1:0 --series.idle-timeout=5s \
	>/dev/null 2>"$place/log" &
exporter=$!
pids+=("$exporter")
address=
for ((tries = 0; tries < 600; tries++)); do
	address=$(sed -n -E 's/.*msg=Listening address="?([^ "]+)"?.*/\1/p' "$place/log" | head -n 1)
	if [ -n "$address" ]; then
		break
	fi
	sleep 0.1
done
[ -n "$address" ] || fail "the exporter does not listen"

accepts=('text/plain' 'application/openmetrics-text;version=1.0.0'
	'application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited')
scrape() {
	local accept
	for accept in "${accepts[@]}"; do
		curl --fail --silent --show-error --header "Accept: $accept" "$@" "http://$address/metrics"
	done
}

"$build/tests/e2e_churn" "$seconds" >"$place/workers" &
churn=$!
pids+=("$churn")
while kill -0 "$churn" 2>/dev/null; do
	scrape >"$place/pages" || fail "a scrape failed"
	scrape --header 'Accept-Encoding: gzip' >"$place/zipped" || fail "a scrape failed"
	sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB$/\1/p' "/proc/$exporter/status" >>"$place/resident"
	grep -a '^kvtap_series ' "$place/pages" | sed -n 's/.* 0*\([0-9.]\)/\1/; 1p' >>"$place/series"
	sleep 1
done
wait "$churn" || fail "the workers failed"
pids=("$exporter")

median() { # file, which quarter
	local lines
	lines=$(wc -l <"$1")
	sed -n "$((lines * ($2 - 1) / 4 + 1)),$((lines * $2 / 4))p" "$1" | sort -n |
		awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'
}
early=$(median "$place/resident" 2) late=$(median "$place/resident" 4)
echo "$seconds s, $(cat "$place/workers") workers, resident memory in kB by quarters:" \
	"$(median "$place/resident" 1) $early $(median "$place/resident" 3) $late," \
	"series: $(for i in 1 2 3 4; do median "$place/series" $i; done | paste -s -d ' ')"
[ "$late" -le $((early + early / 10 + 1024)) ] || fail "it grows"
echo "ok soak"
verdict 1 0
