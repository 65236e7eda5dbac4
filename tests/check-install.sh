#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# check-install.sh - what "make install" puts down can be built against, shared and static, and runs
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v pkg-config >/dev/null; then
	echo "pkg-config is missing"
	exit 77
fi
if readelf -d "${BUILD:-build/release}/libkvtap.so" | grep -q 'NEEDED.*lib[atu]*san'; then
	echo "built with sanitizers"
	exit 77
fi
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
MAKEFLAGS="" make install BUILD="${BUILD:-build/release}" DESTDIR="$place" PREFIX=/usr >/dev/null
cat >"$place/sample.c" <<'END'
#include <kvtap.h>
#include <kvtap_cuda.h>
#include <kvtap_reader.h>
int main(void)
{
	struct kvtap *tap;
	kvtap_open(&tap, NULL);
	kvtap_close(tap);
	return tap ? 0 : 1;
}
END

export PKG_CONFIG_LIBDIR=$place/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$place KVTAP_DISABLE=1
read -ra flags <<<"$(pkg-config --cflags --libs kvtap)"
gcc -Wall -Werror -o "$place/shared" "$place/sample.c" "${flags[@]}"
LD_LIBRARY_PATH=$place/usr/lib "$place/shared"
gcc -Wall -Werror -static -o "$place/static" "$place/sample.c" "${flags[@]}"
"$place/static"
"$place/usr/bin/kvtap-exporter" --version
for file in lib/libkvtap-cupti.so include/kvtap_cuda.h include/kvtap_device.cuh share/man/man7/kvtap-cupti.7; do
	[ -s "$place/usr/$file" ] || { echo "not installed: $file"; exit 1; }
done
pkg-config --modversion kvtap
