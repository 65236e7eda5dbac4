#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# hotpath.sh - what a record costs in instructions, and where they are
#
#   BUILD=build/release bench/hotpath.sh count     lines "case instructions reads writes branches", a record
#   BUILD=build/release bench/hotpath.sh document  HOTPATH.md, to stdout
#
# callgrind counts two runs of N and of 2N records; the difference is that of N records, start-up left
# out. The counts are of the library with the loop of tests/e2e_hotpath.c around each call (6
# instructions, none of them a write), a batch's divided by 32.
set -euo pipefail
cd "$(dirname "$0")/.."

BUILD=${BUILD:-build/release}
records=3200
cases='handle thread_found batch_32 disabled fold_offload fold_nixl'
KVTAP_DIR=$(mktemp -d /dev/shm/kvtap-hotpath.XXXXXX)
export KVTAP_DIR
trap 'rm -rf "$KVTAP_DIR"' EXIT

totals() { # case records -> instructions reads writes branches
	local out=$KVTAP_DIR/out
	valgrind --tool=callgrind --cache-sim=yes --branch-sim=yes --callgrind-out-file="$out" \
		"$BUILD/tests/e2e_hotpath" "$1" "$2" >/dev/null 2>"$KVTAP_DIR/err" || { cat "$KVTAP_DIR/err" >&2; return 1; }
	# events: Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw Bc Bcm Bi Bim
	awk '/^(summary|totals):/ { print $2, $3, $4, $11 + $13; exit }' "$out"
}

count() {
	local case
	for case in $cases; do
		echo "$case $(totals "$case" $records) $(totals "$case" $((2 * records)))" |
			awk -v n=$records '{ printf "%s %.1f %.1f %.1f %.1f\n", $1,
				($6 - $2) / n, ($7 - $3) / n, ($8 - $4) / n, ($9 - $5) / n }'
	done
}

# Of the linked program, where calls have their names; with offsets, where jumps go.
code() { # function
	local first='' address instruction
	printf '\n## %s\n\n' "$1"
	objdump -d --no-show-raw-insn --disassemble="$1" "$BUILD/tests/e2e_hotpath" |
		sed -n -E '/^0*([0-9a-f]+) <'"$1"'>:/,/^$/s/^[ 0]*([0-9a-f]+)[: ]\s*/\1 /p' |
		while read -r address instruction; do
			if [ -z "$first" ]; then
				first=$address
			else
				printf '    %4x:  %s\n' $((16#$address - 16#$first)) "$instruction"
			fi
		done | sed -E 's/ [0-9a-f]+ (<)/ \1/; s/\s+$//' | expand
}

document() {
	cat <<END
# The recording path

Made by \`bench/hotpath.sh document\` with $(${CC:-gcc} --version | head -n 1), on $(uname -m). \`tests/check-hotpath.sh\` fails when the
instructions of a case have grown by more than a tenth over this table.

A record by handle has 6 stores: the slot's index is reserved in private memory, four 16-byte stores
fill the slot, the head publishes it. What handlers see, and why this order is enough, is in
\`lib/ring.h\`. Counts include the loop around the call, 4 to 6 instructions, and its call's return
address; a batch's are for one of its 32 records.

| case | instructions | loads | stores | branches |
|---|---|---|---|---|
$(count | awk '{ printf "| %s | %s | %s | %s | %s |\n", $1, $2, $3, $4, $5 }')
END
	code kvtap_ring_transfer
	code kvtap_transfer
	code kvtap_ring_transfers
}

case ${1:-} in
count | document) "$1" ;;
*)
	sed -n '4,6p' "$0" >&2
	exit 2
	;;
esac
