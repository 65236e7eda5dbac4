#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# e2e_demo.sh - the demo for four seconds: what the workers counted is what a scrape says; also when
# they copy by a driver, here its double
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build/release}
out=$(mktemp)
trap 'rm -f "$out"' EXIT

demo() { # what the page has to say of the GPU
	"$build/kvtap-demo" --exporter "$build/kvtap-exporter" --seconds 4 | tee "$out"
	grep -q '^EQUAL: all' "$out"
	grep -q 'SIGKILL to offload' "$out"
	grep -q "^  $1" "$out"
}

# with the machine's own GPU, if it has one
demo '\(No GPU (\|GPU: \)'
export LD_LIBRARY_PATH=$build/doubles${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
demo 'GPU: double 0\.'
