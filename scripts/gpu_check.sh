#!/bin/sh
# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
# Runs what wants a GPU, the most telling first: tests marked cuda; the engine of every system, beside torch eager without a
# CUDA graph; images in, depth, uncertainty and cloud out for 1 to 4 cameras; what a training step costs. Needs torch with
# CUDA and this package, no ROS. Each part has its own time, so that a slow one leaves the others theirs: 8 minutes at most.
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

# part SECONDS NAME COMMAND…: says what ran, how long, and whether it passed.
part() {
    limit=$1 name=$2 begin=$(date +%s)
    shift 2
    if timeout "$limit" "$@"; then said=passed; else said="failed (exit code $?)" status=1; fi
    echo "gpu_check: $name: $said after $(($(date +%s) - begin)) s"
}

# bench SECONDS NAME PARTS: into one file, part after part.
bench() {
    part "$1" "$2" "$python" -m depthclip_ros.cli bench --device cuda --resume ${BENCH_ARGS:-} --parts "$3" \
        --json "$out/performance_gpu.json" --markdown "$out/performance_gpu.md"
}

rm -f "$out/performance_gpu.json"
part 120 "tests marked cuda" "$python" -m pytest -q -p no:cacheprovider -m cuda tests depthclip_trainer/tests
bench 200 "engine of every system, cloud" engine,cloud
bench 70 "host to host, 1 to 4 cameras" path
part 70 "training step" "$python" -m depthclip_trainer bench --config smoke --parts step --json "$out/training_gpu.json"
exit $status
