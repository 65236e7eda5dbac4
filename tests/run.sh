#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run.sh - run the tests and count them
#
#   BUILD=build/release [T=part of a name] tests/run.sh [unit]
#
# Runs $BUILD/tests/test_* and, without "unit", tests/check-*.sh and tests/e2e_*.sh, from the root of
# the repository, with BUILD in their environment. A script counts as one test, passed by exit status
# 0 and skipped by 77 (reason: its last line), unless it prints lines "ok", "not ok" and "skip" of
# its own. What each printed is kept in $BUILD/logs. RUNNER is put before each binary.
set -euo pipefail
cd "$(dirname "$0")/.."

export BUILD=${BUILD:-build/release}
filter=${T:-}
read -ra runner <<<"${RUNNER:-}"
logs=$BUILD/logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0

export ASAN_OPTIONS="detect_stack_use_after_return=1:strict_string_checks=1:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS:-}"
export TSAN_OPTIONS="halt_on_error=1:die_after_fork=0:atexit_sleep_ms=50:${TSAN_OPTIONS:-}"
if [ -f tests/tsan.supp ]; then
	TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp:$TSAN_OPTIONS"
fi

count() { # a pattern in a log
	grep -c -E "$1" "$2" || true
}

# A runner that dies before its last line has failed, whatever its tests did.
judge_binary() { # name, its log, its exit status
	local name=$1 result
	result=$(tail -n 1 "$2")
	if [[ $result =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
		((passed += BASH_REMATCH[1], failed += BASH_REMATCH[2], skipped += BASH_REMATCH[3], 1))
		if [ "$3" != 0 ] && [ "${BASH_REMATCH[2]}" = 0 ]; then
			printf 'not ok %s # exit status %d\n' "$name" "$3"
			((failed += 1))
		fi
	else
		printf 'not ok %s # died with status %d\n' "$name" "$3"
		((failed += 1))
	fi
}

run_binary() {
	local name=$1 log=$logs/$1.log arguments=() status=0
	if [[ $name != *"$filter"* ]]; then
		arguments=("$filter")
	fi
	printf '# %s\n' "$name"
	"${runner[@]}" "$BUILD/tests/$name" "${arguments[@]}" </dev/null 2>&1 | tee "$log" || status=$?
	judge_binary "$name" "$log" "$status"
}

# Kill points take the longest and know no time: as many of these tests at once as processors.
run_beside() { # programs
	local program name log names=()
	for program in "$@"; do
		for name in $(sed -n -E 's/^TEST[A-Z_]*\((\w+).*/\1/p' "tests/$program.c"); do
			if [[ $program != *"$filter"* && $name != *"$filter"* ]]; then
				continue
			fi
			while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do
				wait -n || true
			done
			names+=("$name")
			log=$logs/$name.log
			{
				status=0
				"${runner[@]}" "$BUILD/tests/$program" "$name" </dev/null >"$log" 2>&1 || status=$?
				echo "$status" >"$log.status"
			} &
		done
	done
	wait
	for name in "${names[@]}"; do
		log=$logs/$name.log
		cat "$log"
		judge_binary "$name" "$log" "$(cat "$log.status")"
	done
}
trap 'kill $(jobs -rp) 2>/dev/null || true' EXIT

run_script() {
	local name=$1 log=$logs/$1.log status=0 own
	printf '# %s\n' "$name"
	timeout --foreground -k 10 900 bash "tests/$name.sh" </dev/null 2>&1 | tee "$log" || status=$?
	own=$(count '^(ok|not ok|skip) ' "$log")
	if [ "$own" != 0 ]; then
		((passed += $(count '^ok ' "$log"), skipped += $(count '^skip ' "$log"), 1))
		((failed += $(count '^not ok ' "$log"), 1))
	elif [ "$status" = 0 ]; then
		printf 'ok %s\n' "$name"
		((passed += 1))
	elif [ "$status" = 77 ]; then
		printf 'skip %s # %s\n' "$name" "$(tail -n 1 "$log")"
		((skipped += 1))
	fi
	if [ "$status" != 0 ] && [ "$status" != 77 ] && ! grep -q '^not ok ' "$log"; then
		printf 'not ok %s # exit status %d\n' "$name" "$status"
		((failed += 1))
	fi
}

beside=()
for source in tests/test_*.c; do
	name=$(basename "$source" .c)
	if [ "$name" != test_main ] &&
		{ [[ $name == *"$filter"* ]] || grep -q -E "^TEST.*\(\w*$filter" "$source"; }; then
		if [[ $name == test_kill* ]]; then
			beside+=("$name")
		else
			run_binary "$name"
		fi
	fi
done
run_beside "${beside[@]}"
if [ "${1:-}" != unit ]; then
	for script in tests/check-*.sh tests/e2e_*.sh; do
		name=$(basename "$script" .sh)
		if [ -f "$script" ] && [[ $name == *"$filter"* ]]; then
			run_script "$name"
		fi
	done
fi

if [ $((passed + failed + skipped)) = 0 ]; then
	echo "nothing ran${filter:+ for T=$filter}"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ $((passed + skipped)) != 0 ]
