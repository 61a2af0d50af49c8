# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The package's own exceptions. Each message is one sentence: the bad value, what is allowed, what to do next."""


class DepthClipError(Exception):
    """Base of all errors that a caller of this package may want to handle."""


class InputError(DepthClipError):
    """An image, its intrinsics or a message cannot be used; the next one may."""


class ConfigError(DepthClipError):
    """A setting, a parameter or a model configuration is not allowed."""


class WeightsError(DepthClipError):
    """A weights file is missing, broken, of another format, or does not fit its model."""


class DeviceError(DepthClipError):
    """The runtime or device asked for is absent, out of memory, or gone."""
