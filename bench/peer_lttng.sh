#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# peer_lttng.sh - peer_lttng in an LTTng session of its own, with a session daemon of its own
#
#   peer_lttng.sh FOLDER            as peer.h says; the trace is written below FOLDER
#   peer_lttng.sh FOLDER arrived    end the session; print how many events arrived and their bytes
#
# Root's session daemon would be the machine's, so that for root it all runs as nobody. The consumer has
# the last CPU. What is there at the end is ended by pid.
set -euo pipefail
self=$(realpath "$0")
folder=$1
export LTTNG_HOME=$folder/lttng
lttng=(lttng --no-sessiond)

missing() {
	echo "missing $*"
	exit
}

if [ "${2:-}" = arrived ]; then
	"${lttng[@]}" stop kvtap-bench >>"$LTTNG_HOME/log" 2>&1
	babeltrace2 --clock-cycles "$LTTNG_HOME/trace" | awk '
		match($0, /kvtap_bench:(array|fields).*( \[5\]| bytes) = [0-9]+/) {
			count++
			split(substr($0, RSTART, RLENGTH), part, "( \\[5\\]| bytes) = ")
			bytes += part[2]
		}
		END { printf "%d %.0f\n", count, bytes }'
	exit
fi

for program in lttng-sessiond:lttng-tools lttng:lttng-tools babeltrace2:babeltrace2; do
	command -v "${program%:*}" >/dev/null || missing "${program#*:}"
done
[ -x "${self%.sh}" ] || missing liblttng-ust-dev
if [ "$(id -u)" = 0 ]; then
	setpriv --reuid=nobody --clear-groups --regid=nogroup test -x "${self%.sh}" ||
		missing "a build folder that nobody may read, or a user other than root"
	mkdir "$LTTNG_HOME"
	chown nobody:nogroup "$LTTNG_HOME"
	chmod go+x "$folder"
	exec setpriv --reuid=nobody --regid=nogroup --clear-groups "$self" "$@"
fi

mkdir -p "$LTTNG_HOME"
cd "$LTTNG_HOME"
ready=
trap ready=1 USR1
cpus=$(taskset -cp $$)
taskset -c "${cpus##*[ ,-]}" lttng-sessiond --no-kernel --sig-parent </dev/null >log 2>&1 &
daemon=$!
trap 'kill $daemon 2>/dev/null && wait $daemon || true' EXIT
wait $daemon || true # until it says that it is ready, or has ended
[ -n "$ready" ] || missing "an LTTng session daemon that starts: $(tail -n 1 log)"
{
	"${lttng[@]}" create kvtap-bench --output="$LTTNG_HOME/trace"
	"${lttng[@]}" enable-channel -u --subbuf-size 4M --num-subbuf 8 --discard all
	"${lttng[@]}" enable-event -u -c all 'kvtap_bench:*'
	"${lttng[@]}" start
} >>log 2>&1
"${self%.sh}" "'$self' '$folder' arrived"
