#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# check-hotpath.sh - the instructions of a record have not grown by more than a tenth
#
# Against the table in bench/HOTPATH.md, which counts for the compiler and machine named there.
set -euo pipefail
cd "$(dirname "$0")/.."

BUILD=${BUILD:-build/release}
export BUILD
recorded=bench/HOTPATH.md

skip() {
	echo "$1"
	exit 77
}

command -v valgrind >/dev/null || skip "valgrind is missing"
[ "$(basename "$BUILD")" = release ] || skip "the table counts for a release build with gcc, not for $BUILD"
grep -q -F "with $(gcc --version | head -n 1), on $(uname -m)" $recorded ||
	skip "the table counts for another compiler or machine"

bench/hotpath.sh count | awk -v table=$recorded '
	BEGIN {
		while ((getline line < table) > 0)
			if (split(line, field, / *\| */) >= 6)
				limit[field[2]] = field[3] * 1.1
	}
	{
		grown = !($1 in limit) || limit[$1] <= 0 || $2 > limit[$1]
		printf "%s %s: %s instructions, at most %.1f\n", grown ? "not ok" : "ok", $1, $2, limit[$1]
		failed += grown
		cases++
	}
	END { exit failed > 0 || cases != 6 }'
