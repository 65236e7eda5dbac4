#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# e2e_readme.sh - what README.md tells a newcomer to type works
#
# The ```sh block after <!-- test: quick start --> runs in a copy of the working tree without its
# build folder; the ```c block after <!-- test: api --> is compiled, linked with the static library
# and run, and an exporter serves what it recorded; the transfer that the interval log's line tells of
# is recorded, and the exporter writes that line; the block after <!-- test: span --> compiles, where
# CUDA's header is found. BUILD: what the second is linked with.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "${BUILD:-build/release}")
if ! git ls-files --error-unmatch Makefile >/dev/null 2>&1; then
	echo "not in a clone of the repository"
	exit 77
fi
if ! command -v curl >/dev/null; then
	echo "curl is missing"
	exit 77
fi

place=$(mktemp -d /dev/shm/kvtap-test.readme.XXXXXX)
exporter=
clean() {
	local status=$?
	if [ -n "$exporter" ]; then
		kill "$exporter" 2>/dev/null || true
		wait
	fi
	rm -rf "$place"
	exit $status
}
trap clean EXIT

block() { # mark, language
	awk -v mark="<!-- test: $1 -->" -v fence="\`\`\`$2" '
		$0 == mark { marked = 1 }
		/^```$/ { inside = 0 }
		inside { print }
		marked && $0 == fence { inside = 1; marked = 0 }' README.md
}

block 'quick start' sh >"$place/start.sh"
block api c >"$place/api.c"
[ -s "$place/start.sh" ] && [ -s "$place/api.c" ] || {
	echo "README.md has no such blocks"
	exit 1
}

mkdir "$place/clone"
git ls-files -z --cached --others --exclude-standard |
	xargs -0 sh -c 'for f; do test ! -e "$f" || printf "%s\0" "$f"; done' sh |
	tar --null --files-from=- -cf - | tar -C "$place/clone" -xf -
# not what the make that runs this test was told; SECONDS is a counter in bash, so not exported here
echo "quick start: $(paste -s -d ';' "$place/start.sh")"
(
	cd "$place/clone"
	env -u BUILD -u MAKEFLAGS -u MAKELEVEL -u MODE -u T -u B -u CC -u RUNNER SECONDS=3 \
		sh -e "$place/start.sh"
)
block span c >"$place/span.c"
root=$(lib/cuda/find-cuda.sh | tr ' ' '\n' | sed -n 's/^include=//p')
if [ -n "$root" ]; then
	echo "span: $(wc -l <"$place/span.c") lines"
	gcc -std=c11 -Wall -Wextra -Werror -Iinclude -isystem "$root" -c -o "$place/span.o" "$place/span.c"
else
	echo "span: not compiled, cuda.h is not there"
fi
echo "api: $(wc -l <"$place/api.c") lines"
gcc -std=c11 -Wall -Wextra -Werror -Iinclude -o "$place/api" "$place/api.c" "$build/libkvtap.a" \
	-lpthread -lm
export KVTAP_DIR=$place
"$place/api"
: >"$place/log" # which is looked at before the exporter may have opened it
"$build/kvtap-exporter" --web.listen-address=127.0.0.1:0 --web.cut-timeout=60s \
	>"$place/interval" 2>"$place/log" &
exporter=$!
for ((tries = 0; tries < 600; tries++)); do
	address=$(sed -n 's/.*msg=Listening address=\([^ ]*\).*/\1/p' "$place/log")
	[ -z "$address" ] || break
	sleep 0.1
done
# numbers have a fixed width on the page
page=$(curl --fail --silent --show-error "http://$address/metrics" |
	sed -E '/^#/!{ s/ 0+([0-9])([^ ]*)$/ \1\2/; s/(\.[0-9]*[1-9])0+$/\1/; s/\.0+$//; }')
has() {
	grep -q -x -F "$1" <<<"$page" || {
		echo "not on the page: $1"
		exit 1
	}
}
has 'vllm:kv_offload_store_bytes_total{engine="0",model_name="llama"} 2097152'
has 'vllm:kv_offload_store_time_total{engine="0",model_name="llama"} 0.00041'
has 'vllm:kv_offload_store_size_count{engine="0",model_name="llama"} 1'
has 'kvtap_transfer_size_bytes_sum{connector="OffloadingConnector",direction="store",engine="0",model_name="llama"} 2097152'
if grep '^offload_queue_jobs{' <<<"$page"; then
	echo "a gauge of living workers is on the page, and its worker has ended"
	exit 1
fi

"$build/tests/e2e_groups" >/dev/null <<'END'
open 0 model=llama engine=1
transfer 0 vllm:nixl_transfer duration=9862000 submit=5693000 bytes=73400320 descriptors=56
END
kill "$exporter"
wait "$exporter"
exporter=
told() {
	grep '^INFO .* Engine=1$' "$1" | cut -d ' ' -f 4-
}
if ! diff <(told README.md) <(told "$place/interval"); then
	echo "README.md (<) has another line than the interval log (>)"
	exit 1
fi
