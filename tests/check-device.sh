#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# check-device.sh - kvtap_device.cuh is C, C++ and, for each GPU, CUDA without a warning, and keeps to
# what it says of the bus: no access wider than 16 bytes, no atomic operation beyond the GPU
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
GPUS='75 80 86 89 90 100 120'
failed=

try() { # what, command
	local what=$1
	shift
	if "$@" >"$work/log" 2>&1; then
		echo "ok check_device: $what"
	else
		cat "$work/log"
		echo "not ok check_device: $what"
		failed=1
	fi
}

cat >"$work/host.c" <<'END'
#include "kvtap_device.cuh"
bool record(struct kvtap_device *device, const struct kvtap_transfer *transfer);
bool record(struct kvtap_device *device, const struct kvtap_transfer *transfer)
{
	return kvtap_device_transfer(device, transfer);
}
END
cat >"$work/gpu.cu" <<'END'
#include "kvtap_device.cuh"
extern "C" __global__ void one(struct kvtap_device *device, struct kvtap_transfer transfer)
{
	kvtap_device_transfer(device, &transfer);
}
extern "C" __global__ void warp(struct kvtap_device *device, struct kvtap_transfer transfer)
{
	if (threadIdx.x % 3)
		kvtap_device_transfer_warp(device, &transfer);
}
END
flags='-Wall -Wextra -Werror -Wundef -Wpointer-arith -Wwrite-strings -Iinclude -c'
# shellcheck disable=SC2086
for compiler in gcc clang; do
	if ! command -v "$compiler" >/dev/null; then
		echo "skip check_device: C by $compiler # it is missing"
		continue
	fi
	try "C by $compiler" "$compiler" -std=c11 -D_GNU_SOURCE $flags -o "$work/o" "$work/host.c"
	if echo 'int x;' | "$compiler" -x c++ -c -o "$work/o" - 2>/dev/null; then
		try "C++ by $compiler" "$compiler" -x c++ -std=c++11 $flags -o "$work/o" "$work/host.c"
	else
		echo "skip check_device: C++ by $compiler # it has no C++"
	fi
done

nvcc=$(lib/cuda/find-cuda.sh | tr ' ' '\n' | sed -n 's/^nvcc=//p')
for gpu in $GPUS; do
	if [ -z "$nvcc" ]; then
		echo "skip check_device: CUDA for sm_$gpu # nvcc is missing"
	elif ! "$nvcc" --list-gpu-code | grep -q -x "sm_$gpu"; then
		echo "skip check_device: CUDA for sm_$gpu # nvcc here doesn't know it"
	else
		try "CUDA for sm_$gpu" "$nvcc" -std=c++17 -Werror all-warnings -Xcompiler -Wall,-Wextra \
			-arch="sm_$gpu" -Iinclude -cubin -o "$work/cubin" "$work/gpu.cu"
	fi
done

# stores to the host are plain, and what others than the GPU see is only loaded and stored
accesses() {
	"$nvcc" -std=c++17 -arch=compute_75 -Iinclude -ptx -o "$work/ptx" "$work/gpu.cu"
	! grep -E '\b(atom|red)\b.*\.sys|\.b128|\.v4\.u64' "$work/ptx" &&
		[ "$(grep -c 'st\.release\.sys' "$work/ptx")" = 2 ] &&
		[ "$(grep -c 'ld\.acquire\.sys' "$work/ptx")" = 2 ]
}
if [ -n "$nvcc" ]; then
	try "accesses to the host" accesses
else
	echo "skip check_device: accesses to the host # nvcc is missing"
fi
exit ${failed:-0}
