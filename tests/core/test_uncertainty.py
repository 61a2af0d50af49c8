# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.uncertainty import Uncertainty, check_level, uncertainty_m


def test_a_table_survives_json(table):
    assert Uncertainty.from_mapping(json.loads(json.dumps(table.as_mapping()))) == table


@pytest.mark.parametrize(
    "change",
    [
        {"levels": (0.9, 0.5)},
        {"depths_m": (1.0,)},
        {"depths_m": (0.0, 4.0)},
        {"free": ((0.5, 0.6),)},
        {"anchored": ((0.5,), (0.6,))},
        {"even_odds": 0.0},
        {"floor": math.nan},
        {"free": ((0.5, 0.6), (math.inf, 2.0))},
        {"anchored": ((0.5, 0.6), (math.nan, 1.2))},
    ],
)
def test_a_table_that_does_not_fit_together_is_refused(change, table):
    with pytest.raises(ConfigError, match="does not fit together"):
        dataclasses.replace(table, **change)


def test_factors_go_from_what_nothing_knows_to_what_an_anchor_knows(table):
    q, scale_sd = table.factors(0.9, None)
    assert q.tolist() == [1.5, 2.0]
    assert scale_sd == 0.4
    q, scale_sd = table.factors(0.9, 0.0)
    assert q.tolist() == [1.0, 1.2]
    assert scale_sd == 0.0
    q, scale_sd = table.factors(0.9, 0.1)  # a quarter of the way
    assert q.tolist() == pytest.approx([1.125, 1.4])
    assert scale_sd == 0.1
    q, scale_sd = table.factors(0.9, 3.0)  # an anchor that fell silent is no worse than none
    assert q.tolist() == [1.5, 2.0]
    assert scale_sd == 0.4


def test_factors_between_levels_are_interpolated_and_end_with_the_table(table):
    assert table.factors(0.7, None)[0].tolist() == pytest.approx([1.0, 1.3])
    assert table.factors(0.99, None)[0].tolist() == [1.5, 2.0]


def test_confidence_goes_by_the_same_odds_at_any_level(table):
    assert table.even_odds_at(0.9) == pytest.approx(0.6)
    assert table.even_odds_at(0.5) == pytest.approx(0.6 * np.median([0.5 / 1.5, 0.6 / 2.0]))


def test_a_half_width_of_another_level_goes_by_what_the_anchors_know(table):
    assert table.share(0.9, 0.9) == 1.0
    assert table.share(0.5, 0.9) == pytest.approx(np.median([0.5 / 1.5, 0.6 / 2.0]))
    known = [table.factors(level, 0.0)[0] for level in (0.5, 0.9)]
    assert table.share(0.5, 0.9, 0.0) == pytest.approx(np.median(known[0] / known[1]))


def test_metres_are_the_larger_side_and_unknown_where_depth_is():
    depth_m = np.array([[2.0, np.nan, np.inf, -np.inf]], np.float32)
    half_width = np.full((1, 4), math.log(1.5), np.float32)
    assert uncertainty_m(depth_m, half_width)[0, 0] == pytest.approx(1.0)
    assert np.isnan(uncertainty_m(depth_m, half_width)[0, 1:]).all()


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, math.nan])
def test_a_level_that_is_no_rate_is_refused(level):
    with pytest.raises(ConfigError, match="uncertainty level is"):
        check_level(level)
