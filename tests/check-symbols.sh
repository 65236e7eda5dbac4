#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# check-symbols.sh - what the shared libraries show, what they need, and that C++ can include the headers
#
# libkvtap exports what the headers declare KVTAP_API and nothing else, libkvtap-cupti its two entries;
# both need libc alone, and are never unloaded. BUILD: where the library is.
set -euo pipefail
cd "$(dirname "$0")/.."
library=${BUILD:-build/release}/libkvtap.so
status=0

wrong() {
	echo "$*"
	status=1
}

if readelf -d "$library" | grep -q 'NEEDED.*lib[atu]*san'; then
	echo "$library is built with sanitizers"
	exit 77
fi
declared=$(sed '/^#/d' include/*.h | tr '\n' ' ' | grep -o 'KVTAP_API [^;]*;' |
	sed -n -E 's/^[^(]*[ *](kvtap_[a-z0-9_]+)\(.*/\1/p' | sort -u)
exported=$(nm -D --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u)
missing=$(comm -23 <(echo "$declared") <(echo "$exported") | paste -s -d ' ')
extra=$(comm -13 <(echo "$declared") <(echo "$exported") | paste -s -d ' ')
[ -n "$declared" ] || wrong "no declaration found in include/"
[ -z "$missing" ] || wrong "declared in include/, not exported: $missing"
[ -z "$extra" ] || wrong "exported, not declared in include/: $extra"

check_needed() { # library
	local needed
	needed=$(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
		sed -E '/^(libc|ld-linux.*)\.so/d' | paste -s -d ' ')
	[ -z "$needed" ] || wrong "$1 needs more than libc: $needed"
	readelf -d "$1" | grep -q NODELETE || wrong "$1: the flag NODELETE is not set"
}
cupti=${library%.so}-cupti.so
check_needed "$library"
check_needed "$cupti"
entries=$(nm -D --defined-only "$cupti" | awk '{ print $3 }' | sort | paste -s -d ' ')
[ "$entries" = "InitializeInjection InitializeInjectionNvtx2" ] || wrong "$cupti exports $entries"

for header in include/*.h; do
	echo "#include \"$(basename "$header")\"" |
		gcc -std=c11 -x c -Wall -Wextra -Wpedantic -Werror -fsyntax-only -Iinclude - ||
		wrong "$header: not for C on its own"
	if command -v g++ >/dev/null; then
		echo "#include \"$(basename "$header")\"" |
			g++ -std=c++11 -x c++ -Wall -Wextra -Werror -fsyntax-only -Iinclude - ||
			wrong "$header: not for C++"
	fi
done
command -v g++ >/dev/null || echo "C++ not tried: g++ is missing"
echo "symbols: $(wc -w <<<"$exported") exported"
exit $status
