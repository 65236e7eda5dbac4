#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# check-arrows.sh - the shape of the sources: who may include whom, and how long a thing may be
#
# Arrows go exporter -> include and lib -> include. Ordering is in lib/atomic.h alone, liburcu in the
# exporter's tables and what scrapes see. No header is in a cycle. A function has at most 70 lines, a file 600.
set -euo pipefail
cd "${1:-$(dirname "$0")/..}"
found=$(mktemp)
edges=$(mktemp)
trap 'rm -f "$found" "$edges"' EXIT

report() {
	echo "$*" | tee -a "$found"
}

# "file:line:included" for each include of a form: "..." or <...>
includes() {
	find include lib exporter -name '*.[ch]' -print0 | sort -z |
		xargs -0 grep -n -H -o -E '^[[:space:]]*#[[:space:]]*include[[:space:]]*'"$1"'[^">]+' |
		sed -E 's/#[[:space:]]*include[[:space:]]*["<]//; s/:[[:space:]]*([^:]*)$/:\1/'
}

# Where an include of ours is: beside its file, else under include/; nothing if it is not ours.
resolve() { # file, included
	local place
	for place in "$(dirname "$1")/$2" "include/$2"; do
		if [ -f "$place" ]; then
			realpath --relative-to=. "$place"
			return
		fi
	done
}

check_includes() {
	local file line included target folder
	while IFS=: read -r file line included; do
		target=$(resolve "$file" "$included")
		folder=${file%%/*}
		case $folder:${target%%/*} in
		*:) report "$file:$line: \"$included\": no such file here or in include/" ;;
		exporter:exporter | lib:lib | *:include) echo "$file $target" >>"$edges" ;;
		*) report "$file:$line: $folder may not include $target" ;;
		esac
	done < <(includes '"')
	while IFS=: read -r file line included; do
		target=$(resolve "$file" "$included")
		case $file:$included in
		*:kvtap*) report "$file:$line: write \"$included\"" ;;
		exporter/family.*:urcu* | exporter/series*:urcu* | exporter/publish.*:urcu* | exporter/fresh.*:urcu*) ;;
		*:urcu*) report "$file:$line: liburcu is for exporter/family, series, publish and fresh" ;;
		esac
	done < <(includes '<')
}

check_cycles() {
	local loop
	if ! loop=$(tsort <"$edges" 2>&1 >/dev/null); then
		report "headers include each other: $(sed -n 's/^tsort: \(-: \)*//p' <<<"$loop" | paste -s -d ' ')"
	fi
}

# Lines of comments begin with "/*" or " *".
check_ordering() {
	local hit
	while IFS= read -r hit; do
		report "$hit: ordering belongs into lib/atomic.h"
	done < <(find lib -name '*.[ch]' ! -path lib/atomic.h -print0 | sort -z |
		xargs -0 -r grep -n -H -o -E '^[^*]*(memory_order_[a-z]+|__(atomic|sync)_[a-z_]+|<stdatomic\.h>)' |
		sed -E 's/^([^:]*:[0-9]+):.*(memory_order_|__atomic_|__sync_|<std)/\1: \2/')
}

# A function is from the brace in the first column to the one that closes it.
check_lengths() {
	local line
	while IFS= read -r line; do
		report "$line"
	done < <(find include lib exporter tests bench -name '*.[ch]' -print0 | sort -z | xargs -0 awk '
		FNR == 1 { if (file && lines > 600) print file ": " lines " lines, over 600"; file = FILENAME }
		{ lines = FNR }
		/^[a-zA-Z_].*\(/ { name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
		/^\{/ { start = FNR }
		/^\}/ && start {
			if (FNR - start + 1 > 70)
				print FILENAME ":" start ": " name ": " FNR - start + 1 " lines, over 70"
			start = 0
		}
		END { if (lines > 600) print file ": " lines " lines, over 600" }')
}

check_includes
check_cycles
check_ordering
check_lengths
if [ -s "$found" ]; then
	exit 1
fi
echo "arrows: $(wc -l <"$edges") includes, each in its direction"
