#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# e2e_families.sh - every family of every group, through a scrape, is as vLLM's client library serves it
#
# See e2e_families.py and the table e2e_families.tsv. BUILD: what is tested.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! /usr/bin/python3 -c 'import prometheus_client' 2>/dev/null; then
	echo "python3-prometheus-client is missing"
	exit 77
fi
if ! command -v promtool >/dev/null; then
	echo "promtool is missing"
	exit 77
fi
place=$(mktemp -d /dev/shm/kvtap-test.families.XXXXXX)
trap 'rm -rf "$place"' EXIT
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 tests/e2e_families.py "$place"
