#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# install-deps.sh - install the Debian packages that are missing
#
#   tests/install-deps.sh build         to build, run and install kvtap
#   tests/install-deps.sh build check   and to run its tests
#   tests/install-deps.sh build bench   and those that its benches compare it with
#
# Says nothing and does nothing when all are there. Without apt, or without the right to use it, says
# what is needed: fails if it is needed to build, and goes on if only tests are going to be skipped.
set -euo pipefail

build='gcc make libc6-dev libmicrohttpd-dev libgnutls28-dev libyaml-dev libcrypt-dev liburcu-dev zlib1g-dev'
check='g++ clang clang-format libclang-rt-14-dev binutils valgrind pkg-config prometheus curl mandoc
	python3 python3-numpy python3-prometheus-client python3-protobuf'
bench='g++ pkg-config nginx-light prometheus-cpp-dev lttng-tools liblttng-ust-dev babeltrace2 libck-dev
	python3 python3-prometheus-client python3-msgpack python3-zmq'

missing() { # package...
	local package
	for package in "$@"; do
		case $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null) in
		*'ii '*) ;;
		*) printf '%s ' "$package" ;;
		esac
	done
}

# Packages of services (prometheus, nginx) must not start them: only their programs are wanted.
install_packages() {
	local policy=/usr/sbin/policy-rc.d made=
	echo "installing: $*" >&2
	if [ ! -e $policy ]; then
		made=1
		printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee $policy >/dev/null
		"${root[@]}" chmod 755 $policy
	fi
	"${root[@]}" apt-get update -qq || echo "apt-get update failed; trying with the lists as they are" >&2
	local status=0
	"${root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
		apt-get install -qq -y --no-install-recommends "$@" >&2 </dev/null || status=$?
	if [ -n "$made" ]; then
		"${root[@]}" rm -f $policy
	fi
	return $status
}

groups=
for group in "$@"; do
	case $group in
	build) groups+=" $build" ;;
	check) groups+=" $check" ;;
	bench) groups+=" $bench" ;;
	*)
		echo "usage: $0 [build] [check] [bench]" >&2
		exit 2
		;;
	esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	if ! command -v gcc >/dev/null; then
		echo "this is no Debian; needed here, by their names there:$groups" >&2
	fi
	exit 0
fi
# shellcheck disable=SC2086
absent=$(missing $groups)
if [ -z "$absent" ]; then
	exit 0
fi
root=()
if [ "$(id -u)" != 0 ]; then
	root=(sudo)
fi
# shellcheck disable=SC2086
if { [ ${#root[@]} = 0 ] || command -v sudo >/dev/null; } && install_packages $absent; then
	exit 0
fi
echo "could not install packages; as root: apt-get install $absent" >&2
# shellcheck disable=SC2086
[ -z "$(missing $build)" ]
