# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Anchors: what a robot has that knows metres, each turned into measurements of ln(true depth / predicted depth).

A module for each kind. All are given a `Prediction` and a reading in the camera's optical frame, and give a
`Measurement` with the variance of its geometry, or raise `InputError` with the reason why the reading says nothing.
`estimator.ScaleEstimator` makes one scale of what all of them say.
"""
