#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# check-bench-cuda.sh - bench_cuda runs, by the doubles of driver and CUPTI, and fails when copies, spans or
# CUPTI's records are lost
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build/release}
make --no-print-directory BUILD="$build" "$build/bench/bench_cuda" "$build/doubles/libcuda.so" "$build/doubles/libcupti.so" \
	"$build/kvtap-exporter" "$build/libkvtap-cupti.so" >/dev/null
export LD_LIBRARY_PATH=$build/doubles
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

fail() {
	echo "$*"
	cat "$place/out" "$place/err"
	exit 1
}

bench() { # [a copy that is lost [a call that fails]] -> out, err
	DOUBLE_CUDA_LOSE=${1:-} DOUBLE_CUDA_FAIL=${2:-} "$build/bench/bench_cuda" --tiny >"$place/out" 2>"$place/err"
}

bench || fail "its check failed"
grep -q '^bench=cuda_ceiling direction=h2d' "$place/out" || fail "no ceiling"
for words in 'path=loop exporter=none mode=per_copy' 'path=batch exporter=none mode=host_function' \
	'exporter=scraped mode=per_job' 'bench=cuda_page' \
	'bench=cuda_processes .* path=batch process=plain_again' 'bench=cuda_processes .* process=cupti' 'bench=cuda_times'; do
	grep -q "$words .*check=ok$" "$place/out" || fail "no line with $words"
done
! grep -q 'check=failed' "$place/out" || fail "it says that its check failed and ends with 0"

! bench 2000 || fail "a lost copy was not noticed"
grep -q 'not what was copied: 1, planned 0' "$place/err" || fail "which block is wrong was not told"
! bench '' cuEventRecord || fail "spans that were not timed were not noticed"
grep -q 'records of a job\|spans that were' "$place/err" || fail "that spans were lost was not told"

! KVTAP_CUPTI_DIRECTIONS=d2h bench || fail "that CUPTI saw no loads was not noticed"
grep -q 'bench=cuda_times .* direction=h2d .* jobs_whole=0 .*check=failed$' "$place/out" || fail "what it saw of loads was not told"

# no driver: told, and no failure
LD_LIBRARY_PATH='' "$build/bench/bench_cuda" --tiny >"$place/out" 2>"$place/err" || fail "it needs a driver"
grep -q '^cuda missing="\|^cuda device="' "$place/out" || fail "whether there is a driver was not told"
