"""Fixtures that several test folders share."""

from __future__ import annotations

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real RGB-D frames beside the checkout; a user's machine does not have it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the RGB-D frames of ../shared/data, which are not on this machine")
    return SHARED_DATA
