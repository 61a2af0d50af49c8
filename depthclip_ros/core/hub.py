# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Files of Hugging Face: `org/name`, or `org/name@revision` for one state of it that never changes."""

from __future__ import annotations

import re
from pathlib import Path

from depthclip_ros.core.errors import WeightsError

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")


def is_hub_id(name: str) -> bool:
    """Whether a name has the form of a Hugging Face id, with or without a revision."""
    return _ID.fullmatch(name) is not None


def hub_file(given: str, file: str) -> Path | None:
    """One file of a repository, downloaded where it is not on this machine yet; None where the repository has none.

    Args:
        given: `org/name`, or `org/name@revision` with a branch, a tag or a commit.
        file: its name in the repository.

    Raises:
        WeightsError: no network, no such repository or revision, no right to read it.
    """
    import huggingface_hub

    repository, _, revision = given.partition("@")
    try:
        return Path(huggingface_hub.hf_hub_download(repository, file, revision=revision or None))
    except huggingface_hub.errors.LocalEntryNotFoundError as error:  # which is an EntryNotFoundError: no network
        raise WeightsError(f"could not fetch {file} of {given!r} from Hugging Face: {error}") from error
    except huggingface_hub.errors.EntryNotFoundError:
        return None
    except Exception as error:  # the hub client raises its own, the HTTP library's and OSError
        raise WeightsError(f"could not fetch {file} of {given!r} from Hugging Face: {error}") from error
