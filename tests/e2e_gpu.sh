#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# e2e_gpu.sh - the bundle for a machine with a GPU: complete, small, and its tests pass on the double
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build/release}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=

verdict() { # name, what is wrong
	if [ -n "$2" ]; then
		echo "not ok $1 # $2"
		failed=1
	else
		echo "ok $1"
	fi
}

tests/gpu-bundle.sh "$build" "$work/gpu" "$(lib/cuda/find-cuda.sh | tr ' ' '\n' | sed -n 's/^library=//p')"
mib=$(du -sm "$work/gpu" | cut -f 1)
verdict gpu_bundle_is_under_50_mib "$([ "$mib" -lt 50 ] || echo "$mib MiB")"

# what is neither libc's nor in the bundle
missing=$(find "$work/gpu" -type f -perm -u+x ! -name '*.sh' -exec ldd {} + |
	LC_ALL=C sed -n -E 's/^\s+(\S+) => .*/\1/p' | sort -u |
	grep -v -E '^(libc|libm|libdl|librt|libpthread|libutil|ld-linux[^/]*)\.so' |
	while read -r name; do [ -e "$work/gpu/lib/$name" ] || echo "$name"; done | paste -s -d ' ')
verdict gpu_bundle_has_all_that_its_programs_need "$missing"

# where there is a GPU, make check-gpu is the test
unset LD_LIBRARY_PATH KVTAP_GPU_DRIVER
if "$work/gpu/tests/gpu_program" >"$work/log" 2>&1; then
	echo "skip gpu_bundle_says_what_it_skips_without_a_gpu # there is one"
else
	wrong=
	"$work/gpu/run.sh" >"$work/log" 2>&1 || wrong="exit status $?"
	[ "$(grep -c '^skip .* # no GPU' "$work/log")" -ge 5 ] || wrong+=" too few lines"
	grep -q '^0 passed, 0 failed, [1-9][0-9]* skipped$' "$work/log" || wrong+=" $(tail -n 1 "$work/log")"
	verdict gpu_bundle_says_what_it_skips_without_a_gpu "$wrong"
fi

# its own tests, on the double
export KVTAP_GPU_DRIVER=$work/gpu/doubles/libcuda.so.1 LD_LIBRARY_PATH=$work/gpu/doubles:$work/gpu/lib
for name in gpu_span gpu_device gpu_graph gpu_cupti; do
	"$work/gpu/tests/$name" 2>&1 | sed -E 's/^(ok|not ok|skip) [0-9]+ /\1 /; /^[0-9]+ passed/d' ||
		failed=1
done
exit ${failed:-0}
