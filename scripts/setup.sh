#!/bin/sh
# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
# Makes .venv: brings uv where it is missing, then installs what uv.lock names and builds this package.
# With the argument "light": what the node and the demo need, without torch.
# Called by make, which keeps a sourced ROS distribution out of the environment.
set -u
cd "$(dirname -- "$0")/.." || exit 1

LOG=.cache/setup.log
UV_VERSION=0.13.8 # of the uv that is brought; one that is already there is used as it is
mkdir -p .cache

fail() {
    printf '\nset-up failed: %s\n' "$*" >&2
    exit 1
}

# step NAME COMMAND…: runs quietly with a running clock on a terminal; on failure the end of the log tells why.
step() {
    name=$1
    shift
    start=$(date +%s)
    "$@" >"$LOG" 2>&1 &
    child=$!
    trap 'kill $child 2>/dev/null; exit 130' INT TERM
    while [ -t 1 ] && kill -0 $child 2>/dev/null; do
        printf '\rset-up: %s … %d s ' "$name" $(($(date +%s) - start))
        sleep 1
    done
    if wait $child; then
        [ -t 1 ] && printf '\r'
        printf 'set-up: %s, done in %d s\n' "$name" $(($(date +%s) - start))
    else
        [ -t 1 ] && printf '\n'
        tail -n 40 "$LOG" >&2
        return 1
    fi
}

if [ "$(uname -s)/$(uname -m)" != Linux/x86_64 ]; then
    fail "ROS 2 on PyPI exists for x86-64 Linux only, this is $(uname -s) $(uname -m)." \
        "Install ROS 2 and build with colcon: README, 'On a robot with ROS 2'."
fi
command -v python3 >/dev/null || fail "there is no python3; install Python 3.10 or later (Debian, Ubuntu: apt install python3)."
if ! command -v "${CXX:-c++}" >/dev/null && ! command -v g++ >/dev/null; then
    fail "there is no C++ compiler to build the package's messages with (Debian, Ubuntu: apt install g++)." \
        "With a ROS 2 installation, colcon can build it as well: README, 'On a robot with ROS 2'."
fi

bring_uv() {
    rm -rf .cache/uv
    if python3 -m venv .cache/uv; then
        .cache/uv/bin/python -m pip install --quiet "uv==$UV_VERSION"
    elif python3 -m pip --version; then
        rm -rf .cache/uv
        python3 -m pip install --quiet --target .cache/uv "uv==$UV_VERSION"
    else
        return 1
    fi
}

# uv brings its own list of certificate authorities; a company's proxy is known to the system's list only.
if [ -z "${SSL_CERT_FILE:-}" ] && [ -r /etc/ssl/certs/ca-certificates.crt ]; then
    export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
fi

if command -v uv >/dev/null; then
    UV=uv
else
    UV=.cache/uv/bin/uv
    if ! [ -x $UV ]; then
        step "uv $UV_VERSION" bring_uv || fail "could not install uv from PyPI. Without network: try again with it;" \
            "where 'ensurepip' is missing: apt install python3-venv."
    fi
fi

# The messages are compiled against the interpreter's headers. A system Python often comes without them, and uv's never does.
if ! python3 -c 'import pathlib, sysconfig as s, sys
sys.exit(not ((3, 10) <= sys.version_info < (3, 13) and pathlib.Path(s.get_path("include"), "Python.h").exists()))'; then
    echo "set-up: python3 is not 3.10 to 3.12 or has no headers (Debian, Ubuntu: python3-dev); uv brings a Python of its own"
    export UV_PYTHON_PREFERENCE=only-managed
fi

# Through a linked directory the installer would delete sources of this checkout (see link_sources.sh).
find .venv/lib/python3*/site-packages/depthclip_ros .venv/share/depthclip_ros -maxdepth 1 -type l -delete 2>/dev/null

if [ -d .venv/share/depthclip_ros ]; then
    what="environment brought up to date"
else
    what="environment in .venv (about $([ "${1:-}" = light ] && echo 250 MB || echo 5 GB) to download if not in uv's cache)"
fi
if [ "${1:-}" = light ]; then
    parts="--no-default-groups --extra ros"
else
    parts="--all-packages --all-extras --compile-bytecode"
fi
# --inexact: the ROS wheels hold a second entry for what is in them (rosidl_parser in ros-rosidl-parser), which is in no
# lock; an exact sync takes it for a leftover and deletes its files.
# shellcheck disable=SC2086 # several words
step "$what" "$UV" sync --inexact --locked $parts \
    || fail "see above; the whole output is in $LOG."

# A node starts in half the time from bytecode. What draws the demo's pictures, 40 MB of it, is compiled when it does.
if [ "${1:-}" = light ]; then
    unused='fontTools|matplotlib|mpl_toolkits|setuptools|pygments|/tests?/|f2py|openvino/tools|_distutils'
    .venv/bin/python -m compileall -q -j 0 -x "$unused" .venv/lib/python3*/site-packages >>"$LOG" 2>&1
fi

# Wheels cannot hold symbolic links, so a library lies there under each of its names and once more in each wheel: 60 MB.
once() { # once FIRST OTHER: one file on the disk, under both names
    if [ "$1" != "$2" ] && cmp -s "$1" "$2"; then ln -f "$1" "$2"; fi
}
for file in .venv/lib/lib*.so.[0-9]*; do
    once "${file%%.so.*}.so" "$file"
done
for file in .venv/lib/python3*/site-packages/ros_*.libs/*; do
    for first in .venv/lib/python3*/site-packages/ros_*.libs/"${file##*/}"; do
        once "$first" "$file"
        break
    done
done
