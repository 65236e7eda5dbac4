#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# check-ptx.sh - the committed PTX is what its source gives, and assembles for each GPU
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
GPUS='75 80 86 89 90 100 120'
failed=

nvcc=$(lib/cuda/find-cuda.sh | tr ' ' '\n' | sed -n 's/^nvcc=//p')
ptxas=${nvcc%nvcc}ptxas
version=
if [ -n "$nvcc" ]; then
	version=$("$nvcc" --version | sed -n -E 's/.*(release .*)/\1/p')
fi

not_ok() {
	echo "not ok check_ptx: $*"
	failed=1
}

compare() { # source, ptx
	local by
	by=$(sed -n -E 's,^// Cuda compilation tools\, ,,p' "$2")
	if [ -z "$nvcc" ]; then
		echo "skip check_ptx: $2 is its source's # nvcc is missing"
	elif [ "$version" != "$by" ]; then
		echo "skip check_ptx: $2 is its source's # it is by $by, nvcc here is $version"
	elif ! lib/cuda/make-ptx.sh "$nvcc" "$1" "$work/ptx" >"$work/log" 2>&1; then
		not_ok "$2 is its source's # $(tail -n 1 "$work/log")"
	elif ! diff -u "$2" "$work/ptx"; then
		not_ok "$2 is its source's # make ptx"
	else
		echo "ok check_ptx: $2 is its source's"
	fi
}

assemble() { # ptx, sm_*
	if [ -z "$nvcc" ] || [ ! -x "$ptxas" ]; then
		echo "skip check_ptx: $1 for $2 # ptxas is missing"
	elif ! grep -q -w "$2" <<<"$("$ptxas" --help)"; then
		echo "skip check_ptx: $1 for $2 # ptxas $version doesn't know it"
	elif ! "$ptxas" -arch="$2" -o "$work/cubin" "$1" >"$work/log" 2>&1; then
		not_ok "$1 for $2 # $(tail -n 1 "$work/log")"
	else
		echo "ok check_ptx: $1 for $2"
	fi
}

for source in lib/cuda/*.cu tests/*.cu; do
	[ -f "$source" ] || continue
	compare "$source" "${source%.cu}.ptx"
	for gpu in $GPUS; do
		assemble "${source%.cu}.ptx" "sm_$gpu"
	done
done
exit ${failed:-0}
