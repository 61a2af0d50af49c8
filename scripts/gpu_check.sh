#!/bin/sh
# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
# Runs what wants a GPU: tests marked cuda, engine and cloud. Needs torch with CUDA and this package.
#   sh scripts/gpu_check.sh [OUT_FOLDER]     writes OUT_FOLDER/performance_gpu.json and .md (default: docs)
set -u
cd "$(dirname -- "$0")/.." || exit 1
out=${1:-docs}
python=${PYTHON:-python3}
status=0
"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || {
    echo "gpu_check: torch sees no CUDA device; nothing was checked" >&2
    exit 1
}
"$python" -m pytest -q -p no:cacheprovider -m cuda tests || status=1
"$python" -m depthclip_ros.cli bench --parts engine,cloud --device cuda ${BENCH_ARGS:-} \
    --json "$out/performance_gpu.json" --markdown "$out/performance_gpu.md" || status=1
exit $status
