#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# fuzz.sh - run the fuzzer from its seeds for FUZZ_SECONDS and say what it found
#
#   BUILD=build/fuzz FUZZ_SECONDS=60 tests/fuzz.sh
#
# The corpus stays in $BUILD/corpus, so the next run goes on from it; an input that breaks
# something is left in $BUILD as crash-*, timeout-* or oom-*.
set -euo pipefail
cd "$(dirname "$0")/.."
read -ra runner <<<"${RUNNER:-}"
log=$BUILD/fuzz.log
mkdir -p "$BUILD/corpus" "$BUILD/seeds"
folder=$(mktemp -d /dev/shm/kvtap-fuzz.XXXXXX)
trap 'rm -rf "$folder"' EXIT

"${runner[@]}" "$BUILD/tests/fuzz_seeds" "$BUILD/seeds"
status=0
KVTAP_DIR=$folder "${runner[@]}" "$BUILD/tests/fuzz_segment" -max_total_time="${FUZZ_SECONDS:-60}" \
	-timeout=10 -rss_limit_mb=2048 -artifact_prefix="$BUILD/" -print_final_stats=1 \
	"$BUILD/corpus" "$BUILD/seeds" </dev/null >"$log" 2>&1 || status=$?
tail -n "$([ $status = 0 ] && echo 12 || echo 60)" "$log"
if [ $status = 0 ]; then
	echo "ok fuzz_segment ($(find "$BUILD/seeds" -type f | wc -l) seeds, ${FUZZ_SECONDS:-60} s)"
	echo "1 passed, 0 failed, 0 skipped"
	exit 0
fi
echo "not ok fuzz_segment # exit status $status; all of it: $log"
echo "0 passed, 1 failed, 0 skipped"
exit 1
