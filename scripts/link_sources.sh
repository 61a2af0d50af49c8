#!/bin/sh
# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
# Replaces the installed sources of the environment $1 by links to this checkout.
# One link per file, never per directory: an installer that removes or replaces an installed file must meet the link,
# while through a linked directory it would delete the sources themselves.
set -eu
cd "$(dirname -- "$0")/.."
root=$PWD
venv=$(cd "$1" && pwd)
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

# link_tree SOURCE TARGET: TARGET becomes a tree of links to the files of SOURCE.
link_tree() {
    [ -e "$1" ] || return 0
    rm -rf "$2"
    (cd "$1" && find . -type f ! -path '*/__pycache__/*') | while IFS= read -r file; do
        mkdir -p "$2/$(dirname -- "$file")"
        ln -sfn "$1/${file#./}" "$2/${file#./}"
    done
}

for part in core scene ros commands data; do
    link_tree "$root/depthclip_ros/$part" "$site/depthclip_ros/$part"
done
if [ -e "$root/depthclip_ros/cli.py" ]; then ln -sfn "$root/depthclip_ros/cli.py" "$site/depthclip_ros/cli.py"; fi
for part in launch config; do
    link_tree "$root/$part" "$venv/share/depthclip_ros/$part"
done
for file in "$root"/executables/*; do
    ln -sfn "$file" "$venv/lib/depthclip_ros/$(basename -- "$file")"
done
