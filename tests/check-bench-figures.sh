#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# check-bench-figures.sh - README.md's figures and the plots are what bench/results.txt says
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v python3 >/dev/null; then
	echo "python3 is missing"
	exit 77
fi
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

fail() {
	echo "$*"
	exit 1
}

# A copy, of output with known figures: what is rendered has them, and another figure is noticed.
mkdir "$place/bench"
cp bench/render*.py "$place/bench"
cat >"$place/output" <<'END'
env cpu="A CPU" cpus=2 kernel=6.1 cc="gcc 12" flags="-O2" commit=abc load=0.1
bench=record mode=handle threads=1 ns_per_op_p50=4.40 floor_ns=1.70 ratio=2.59 bar="ratio<=2.5,ns_per_op_p50<=5" met=no check=ok
bench=peers peer=lttng_ust way=array missing="lttng-tools"
bench=scrape series=1000 format=text gzip=0 server=raw us_p50=50.0 check=ok
bench=scrape series=10000 format=text gzip=0 server=raw us_p50=300.0 check=ok
END
printf '# Numbers\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nthe end\n' >"$place/README.md"
"$place/bench/render.py" "$place/output"
for row in '| record: handle, 1 thread | ratio ≤ 2.5; ns per op, median ≤ 5 | 2.59; 4.4 | no |' \
	'| LTTng-UST, array | missing: lttng-tools |  |  |' '| 10,000 | 300 |' 'the end'; do
	grep -qxF "$row" "$place/README.md" || fail "not in the tables: $row"
done
grep -q '^old$' "$place/README.md" && fail "the last table is still there"
[ -e "$place/bench/growth.svg" ] && fail "a plot of nothing"
python3 -c 'import sys, xml.dom.minidom; [xml.dom.minidom.parse(path) for path in sys.argv[1:]]' "$place"/bench/*.svg
"$place/bench/render.py" --check "$place/output" || fail "what was just rendered differs"
if sed 's/us_p50=300/us_p50=301/' "$place/output" | "$place/bench/render.py" --check >/dev/null; then
	fail "another figure was not noticed"
fi

if ! grep -q '^<!-- bench: begin -->$' README.md; then
	echo "README.md has no place for figures"
	exit 77
fi
bench/render.py --check bench/results.txt
