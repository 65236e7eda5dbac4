#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# find-cuda.sh - where a CUDA toolkit is, in words for make: root= version= include= nvcc= cupti= library=
#
#   find-cuda.sh [FOLDER...]   instead of /usr/local/cuda and /opt/cuda
#
# Nothing of kvtap needs one: headers let the compiler compare kvtap's own declarations with them, nvcc
# makes the kernels that lie beside their sources. Each part may be missing, and its word with it. The
# first of these that has headers or nvcc is taken:
#   CUDA_HOME, CUDA_PATH   if one is set, it alone
#   nvcc on the PATH, /usr/local/cuda, /opt/cuda
#   Python's wheels        nvidia/cu13; nvidia/cuda_runtime and the packages beside it (CUDA 12)
# "missing=" says what there is not, with "_" for a space. CUDA=0: nothing is looked for.
set -euo pipefail

first() { # the first of these that is there
	local path
	for path in "$@"; do
		if [ -e "$path" ]; then
			echo "$path"
			return
		fi
	done
}

version_of() { # cuda.h, nvcc
	if [ -n "$1" ]; then
		sed -n -E 's/^#define CUDA_VERSION ([0-9]+).*/\1/p' "$1" |
			awk '{ print int($1 / 1000) "." int($1 % 1000 / 10) }'
	else
		"$2" --version 2>/dev/null | sed -n -E 's/.*release ([0-9.]+).*/\1/p'
	fi
}

take() { # a folder; fails if it is no toolkit
	local root=$1 header nvcc cupti library version missing=
	header=$(first "$root/include/cuda.h")
	nvcc=$(first "$root/bin/nvcc" "$root/../cuda_nvcc/bin/nvcc")
	if [ -z "$header$nvcc" ]; then
		return 1
	fi
	cupti=$(first "$root"{,/extras/CUPTI,/../cuda_cupti}/include/cupti.h)
	library=$(first "$root"{/lib64,/lib,/extras/CUPTI/lib64,/../cuda_cupti/lib}/libcupti.so.1[23])
	version=$(version_of "$header" "$nvcc")
	[ -n "$header" ] || missing+=,_no_cuda.h
	[ -n "$nvcc" ] || missing+=,_no_nvcc
	[ -n "$cupti" ] || missing+=,_no_cupti.h
	echo "root=$root" "version=${version:-unknown}" ${header:+"include=${header%/*}"} \
		${cupti:+"cupti=${cupti%/*}"} ${nvcc:+"nvcc=$nvcc"} ${library:+"library=$library"} \
		${missing:+"missing=$missing"}
}

wheels() {
	local folder
	python3 -c 'import sys; print(*filter(None, sys.path), sep="\n")' 2>/dev/null |
		while IFS= read -r folder; do
			printf '%s\n' "$folder"/nvidia/{cu13,cuda_runtime}
		done
}

if [ "${CUDA:-}" = 0 ]; then
	echo "missing=switched_off_by_CUDA=0"
	exit
fi
named=${CUDA_HOME:-${CUDA_PATH:-}}
if [ -n "$named" ]; then
	take "$named" || echo "missing=nothing_in_$named"
	exit
fi
if nvcc=$(command -v nvcc); then
	nvcc=$(realpath "$nvcc")
	take "${nvcc%/bin/nvcc}" && exit
fi
if [ $# = 0 ]; then
	set -- /usr/local/cuda /opt/cuda
fi
for root in "$@"; do
	take "$root" && exit
done
while IFS= read -r root; do
	take "$root" && exit
done < <(wheels)
echo "missing=no_toolkit_found"
