# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The shipped weights in torch against the answers that were recorded when their graph was made."""

from __future__ import annotations

import numpy as np
import pytest

from depthclip_ros.core.runtimes.network import Network
from depthclip_ros.core.runtimes.pixel_network import call
from depthclip_ros.core.runtimes.proof import Reference
from depthclip_ros.core.weights.find import read_info


@pytest.mark.parametrize("name", ["fast", "default"])
def test_shipped_weights_say_what_they_said_when_they_were_made(name):
    """Of four rooms, upright and across: but for the rounding of what is kept, to float16 and to bytes."""
    network = Network.of_weights(read_info(name))
    assert network.graph is not None
    for size in network.graph.sizes[:2]:
        right = Reference.recorded(network.graph.answers(size), size)
        said = call(network.in_torch(), right.pixels)
        np.testing.assert_allclose(said.depth, right.depth, rtol=1e-3)
        np.testing.assert_allclose(said.confidence, right.confidence, atol=0.5 / 255 + 1e-4)
