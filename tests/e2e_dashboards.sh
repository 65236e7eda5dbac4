#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# e2e_dashboards.sh - a real Prometheus answers what dashboards ask by what was recorded
#
# See e2e_dashboards.py. BUILD: what is tested.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! /usr/bin/python3 -c 'import prometheus_client' 2>/dev/null; then
	echo "python3-prometheus-client is missing"
	exit 77
fi
if ! command -v prometheus >/dev/null; then
	echo "prometheus is missing"
	exit 77
fi
place=$(mktemp -d /dev/shm/kvtap-test.dashboards.XXXXXX)
trap 'rm -rf "$place"' EXIT
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 tests/e2e_dashboards.py "$place"
