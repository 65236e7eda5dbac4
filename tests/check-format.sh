#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# check-format.sh - the sources are as clang-format writes them; "make format" does that
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v clang-format >/dev/null; then
	echo "clang-format is missing"
	exit 77
fi
find . -name build -prune -o -name '*.[ch]' -print0 | sort -z |
	xargs -0 clang-format --dry-run -Werror --ferror-limit=3
find . -name build -prune -o -name '*.[ch]' -print0 | sort -z | xargs -0 awk '
	FNR == 1 && $0 != "/* SPDX-License-Identifier: Apache-2.0 */" {
		print FILENAME ": its first line is not the licence"
		bad = 1
	}
	END { exit bad }'
