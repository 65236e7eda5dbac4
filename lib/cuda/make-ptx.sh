#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make-ptx.sh - a .cu compiled to PTX that drivers since CUDA 11 take, on any GPU since sm_75
#
#   make-ptx.sh nvcc SOURCE.cu TARGET.ptx
#
# nvcc writes its own PTX version into it, which older drivers refuse unread; the instructions need no
# more than 7.0, which ptxas is asked to confirm.
set -euo pipefail
nvcc=$1 source=$2 target=$3
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT

"$nvcc" -ptx -arch=compute_75 -std=c++17 -Iinclude -Ilib/cuda -o "$folder/ptx" "$source"
sed -i 's/^\.version .*/.version 7.0/' "$folder/ptx"
"${nvcc%nvcc}ptxas" -arch=sm_75 -o /dev/null "$folder/ptx"
mv "$folder/ptx" "$target"
chmod 644 "$target"
