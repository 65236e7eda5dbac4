#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# e2e_demo.sh - the demo for four seconds: what the workers counted is what a scrape says
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build/release}
out=$(mktemp)
trap 'rm -f "$out"' EXIT
"$build/kvtap-demo" --exporter "$build/kvtap-exporter" --seconds 4 | tee "$out"
grep -q '^EQUAL: all' "$out"
grep -q 'SIGKILL to offload' "$out"
