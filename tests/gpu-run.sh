#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# gpu-run.sh - what needs a GPU; run.sh in the folder that make gpu-bundle makes
#
#   run.sh           the tests, on the GPU and on the doubles of its driver, and what counted them
#   run.sh bench     bench_cuda, with its arguments
#   run.sh demo      the demo, with its arguments
#
# Nothing has to be installed but the driver. What is missing is skipped, and says so.
set -euo pipefail
cd "$(dirname "$0")"
export KVTAP_GPU_LIBRARY_PATH=${LD_LIBRARY_PATH:-}
export LD_LIBRARY_PATH=$PWD/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
case ${1:-} in
bench)
	shift
	exec bench/bench_cuda "$@"
	;;
demo)
	shift
	exec ./kvtap-demo --exporter ./kvtap-exporter "$@"
	;;
esac

log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0 skipped=0

skip() { # suite, reason
	echo "skip $1 # $2"
	((skipped += 1))
}

# A suite that dies before its last line has failed, whatever its tests did.
suite() { # name, command
	local name=$1 status=0 result
	shift
	printf '# %s\n' "$name"
	"$@" </dev/null 2>&1 | tee "$log" || status=$?
	result=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1 || true)
	if [[ $result =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
		((passed += BASH_REMATCH[1], failed += BASH_REMATCH[2], skipped += BASH_REMATCH[3], 1))
		if [ $status = 0 ] || [ "${BASH_REMATCH[2]}" != 0 ]; then
			return
		fi
	fi
	echo "not ok $name # exit status $status"
	((failed += 1))
}

sanitizer() {
	PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin:/usr/local/cuda/bin command -v compute-sanitizer
}

real='gpu_span gpu_device gpu_graph gpu_cupti'
doubles=$(cd tests && echo test_*)
status=0
reason=$(tests/gpu_program 2>&1) || status=$?
if [ $status = 77 ]; then
	for name in $real compute_sanitizer; do
		skip "$name" "no GPU: $reason"
	done
	for name in $doubles; do
		skip "$name" "no GPU; make check runs it"
	done
else
	nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null || true
	for name in $real $doubles; do
		suite "$name" "tests/$name"
	done
	if tool=$(sanitizer); then
		export KVTAP_GPU_RECORDS=500000 # it makes each of them many times as slow
		suite compute_sanitizer "$tool" --target-processes all --error-exitcode 9 tests/gpu_device
	else
		skip compute_sanitizer 'compute-sanitizer is missing'
	fi
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
