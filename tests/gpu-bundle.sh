#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# gpu-bundle.sh - put what needs a GPU into a folder that runs on a machine with a driver and no more
#
#   gpu-bundle.sh BUILD FOLDER CUPTI
#
# In the folder things lie as in BUILD, with run.sh and, in lib, the shared libraries that they need but
# for libc's own. CUPTI is the toolkit's libcupti.so; "": the machine has its own, or goes without.
set -euo pipefail
build=$1 folder=$2 cupti=$3

rm -rf "$folder"
mkdir -p "$folder"/{tests,bench,lib}
find "$build/tests" -maxdepth 1 -type f -perm -u+x \
	\( -name 'gpu_*' -o -name 'test_*' \) -regextype posix-extended \
	-regex '.*/(gpu_|test_(span|cuda|cupti|device|marker|double))[^.]*' -exec cp -t "$folder/tests" {} +
cp -a "$build/doubles" "$folder/"
cp -t "$folder" "$build"/libkvtap.so* "$build/libkvtap-cupti.so" "$build/kvtap-exporter" "$build/kvtap-demo"
[ ! -x "$build/bench/bench_cuda" ] || cp -t "$folder/bench" "$build/bench/bench_cuda"
if [ -n "$cupti" ]; then
	cp -L -t "$folder/lib" "$cupti"
fi
find "$folder" -type f -perm -u+x -exec ldd {} + | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' |
	grep -v -E '/(libc|libm|libdl|librt|libpthread|libutil|ld-linux[^/]*)\.so' | sort -u |
	xargs -r cp -L -t "$folder/lib"
cp tests/gpu-run.sh "$folder/run.sh"
find "$folder" -type f ! -name '*.sh' -exec strip -g {} + 2>/dev/null || true
echo "$folder: $(du -sm "$folder" | cut -f 1) MiB; start run.sh in it"
