"""Settles who owns the name `depthclip_trainer` before pytest names test modules after their paths.

For `depthclip_trainer/tests/...` pytest would make a module of the outer folder, which hides the package inside it.
"""

from __future__ import annotations

import contextlib

with contextlib.suppress(ImportError):  # a ROS workspace has no trainer
    import depthclip_trainer  # noqa: F401
