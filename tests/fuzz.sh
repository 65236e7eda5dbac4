#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# fuzz.sh - run each fuzzer from its seeds, share FUZZ_SECONDS among them, and say what they found
#
#   BUILD=build/fuzz FUZZ_SECONDS=60 tests/fuzz.sh
#
# The corpora stay in $BUILD/corpus_*, so the next run goes on from them; an input that breaks
# something is left in $BUILD as crash-*, timeout-* or oom-*.
set -euo pipefail
cd "$(dirname "$0")/.."
read -ra runner <<<"${RUNNER:-}"
folder=$(mktemp -d /dev/shm/kvtap-fuzz.XXXXXX)
trap 'rm -rf "$folder"' EXIT
fuzzers=(segment web_config)
seconds=$((${FUZZ_SECONDS:-60} / ${#fuzzers[@]}))
passed=0 failed=0

seed() { # fuzzer, folder
	case $1 in
	segment) "${runner[@]}" "$BUILD/tests/fuzz_seeds" "$2" ;;
	web_config) cp tests/web_config/* "$2" ;;
	esac
}

for fuzzer in "${fuzzers[@]}"; do
	corpus=$BUILD/corpus_$fuzzer seeds=$BUILD/seeds_$fuzzer log=$BUILD/fuzz_$fuzzer.log
	mkdir -p "$corpus" "$seeds"
	seed "$fuzzer" "$seeds"
	status=0
	KVTAP_DIR=$folder "${runner[@]}" "$BUILD/tests/fuzz_$fuzzer" -max_total_time="$seconds" \
		-timeout=10 -rss_limit_mb=2048 -artifact_prefix="$BUILD/" -print_final_stats=1 \
		"$corpus" "$seeds" </dev/null >"$log" 2>&1 || status=$?
	tail -n "$([ $status = 0 ] && echo 12 || echo 60)" "$log"
	if [ $status = 0 ]; then
		echo "ok fuzz_$fuzzer ($(find "$seeds" -type f | wc -l) seeds, $seconds s)"
		((passed += 1))
	else
		echo "not ok fuzz_$fuzzer # exit status $status; all of it: $log"
		((failed += 1))
	fi
done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
