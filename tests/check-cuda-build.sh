#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# check-cuda-build.sh - a toolkit is found wherever it lies, whole or in part, and changes no object
#
# Toolkits in part are folders of links to the real one. In each state the library's CUDA code is the same
# byte for byte, and the files that compare its declarations with cuda.h saw the one of that state.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset CUDA CUDA_HOME CUDA_PATH PYTHONPATH MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL

mapfile -t code < <(ls lib/cuda/*.c | sed 's/c$/o/')
mapfile -t checks < <(grep -l '__has_include.<cu' lib/cuda/*.c tests/*.c | sed 's/c$/o/')
[ ${#checks[@]} != 0 ] || { echo "not ok check_cuda_build # nothing compares declarations with cuda.h"; exit 1; }
failed=

verdict() { # state, what is wrong
	if [ -n "$2" ]; then
		echo "not ok check_cuda_build: $1 # $2"
		failed=1
	else
		echo "ok check_cuda_build: $1"
	fi
}

# Builds in a state, and compares the objects with those of the first one, which is none. With -O, as the
# parts of a line that gcc -H writes one by one would else mix with other lines.
state() { # name, folder of cuda.h or "", what make says, make's arguments
	local name=$1 headers=$2 expected=$3 build=$work/build/${1// /-} wrong= said object seen included
	shift 3
	if ! said=$(make -j2 -O BUILD="$build" CFLAGS='-O2 -H' "$@" "$build/cuda" "${code[@]/#/$build/}" \
		"${checks[@]/#/$build/}" 2>&1); then
		verdict "$name" "$(tail -n 3 <<<"$said" | paste -s -d ' ')"
		return
	fi
	included=$said
	said=$(sed -n 's/^  CUDA  //p' <<<"$said")
	[ "$said" = "$expected" ] || wrong="make says \"$said\", not \"$expected\""
	: "${first:=$build}"
	for object in "${code[@]}"; do
		cmp -s "$first/$object" "$build/$object" || wrong+=" $object differs from that without a toolkit"
	done
	seen=$(sed -n 's,^\.* \(/.*\)/cuda\.h$,\1,p' <<<"$included" | sort -u | paste -s -d ' ')
	[ "$seen" = "$headers" ] || wrong+=" cuda.h was that of \"$seen\", not of \"$headers\""
	verdict "$name" "${wrong# }"
}

first=
state 'switched off' '' 'none: switched off by CUDA=0' CUDA=0
state 'a folder that is not there' '' 'none: nothing in /nonexistent' CUDA_HOME=/nonexistent
eval "$(lib/cuda/find-cuda.sh | tr ' ' '\n' | grep -E '^(root|version|include|cupti|nvcc)=' || true)"
if [ -z "${include:-}" ] || [ -z "${nvcc:-}" ] || [ -z "${cupti:-}" ]; then
	for name in present 'headers alone' 'nvcc alone' 'no cupti' 'a wheel' 'wheels of each package'; do
		echo "skip check_cuda_build: $name # no whole toolkit here to link to"
	done
	exit "${failed:-0}"
fi

half() { # folder: headers without CUPTI's; those are copied that include each other: gcc takes a linked
	# one from where it really lies if that path is shorter, and cuda.h with it
	mkdir -p "$work/$1/include"
	ln -s "$include"/* "$work/$1/include"
	cp --remove-destination "$include"/*.h "$work/$1/include"
	rm "$work/$1"/include/cupti*
}

state present "$include" "$root ($version)" CUDA_HOME="$root"
half headers
state 'headers alone' "$work/headers/include" "$work/headers ($version, no nvcc, no cupti.h)" CUDA_HOME="$work/headers"
half no-cupti
ln -s "${nvcc%/nvcc}" "$work/no-cupti/bin"
state 'no cupti' "$work/no-cupti/include" "$work/no-cupti ($version, no cupti.h)" CUDA_PATH="$work/no-cupti"
mkdir -p "$work/nvcc"
ln -s "${nvcc%/nvcc}" "$work/nvcc/bin"
state 'nvcc alone' '' "$work/nvcc ($version, no cuda.h, no cupti.h)" CUDA_HOME="$work/nvcc"

# what Python has, where nothing else is found
wheel() { # name, folder, what is there
	local name=$1 found
	found=$(PATH=/usr/bin:/bin PYTHONPATH=$work/$2 lib/cuda/find-cuda.sh "$work/none" | tr ' ' '\n' |
		sed -n -E 's/^(include|cupti|nvcc|missing)=//p' | paste -s -d ' ')
	[ "$found" = "$3" ] && found= || found="found \"$found\", not \"$3\""
	verdict "$name" "$found"
}

if ! PATH=/usr/bin:/bin command -v python3 >/dev/null; then
	echo "skip check_cuda_build: wheels # python3 is missing"
	exit "${failed:-0}"
fi
new=$work/new/nvidia/cu13 old=$work/old/nvidia
mkdir -p "$new" "$old/cuda_cupti/include"
ln -s "$include" "$new/include"
ln -s "${nvcc%/nvcc}" "$new/bin"
half old/nvidia/cuda_runtime
ln -s "$cupti"/cupti* "$old/cuda_cupti/include"
wheel 'a wheel' new "$new/include $new/include $new/bin/nvcc"
wheel 'wheels of each package' old "$old/cuda_runtime/include $old/cuda_runtime/../cuda_cupti/include ,_no_nvcc"
exit "${failed:-0}"
