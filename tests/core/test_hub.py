# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Hugging Face ids with and without a revision."""

import huggingface_hub
import pytest

from depthclip_ros.core.errors import WeightsError
from depthclip_ros.core.hub import hub_file, is_hub_id


@pytest.mark.parametrize("name", ["org/name", "Org-1/na.me_2", "org/name@main", "org/name@refs/pr/3", "org/name@v1.0"])
def test_ids(name):
    assert is_hub_id(name)


@pytest.mark.parametrize(
    "name", ["name", "/org/name", "./org/name", "org/name@", "a/b/c", "org/name@a b", "org@1/name"]
)
def test_what_is_none(name):
    assert not is_hub_id(name)


def test_a_revision_is_handed_on(monkeypatch):
    asked = []
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *given, revision: asked.append((*given, revision)))
    monkeypatch.setattr("depthclip_ros.core.hub.Path", lambda found: found)
    hub_file("org/name", "a.json")
    hub_file("org/name@refs/pr/3", "a.json")
    assert asked == [("org/name", "a.json", None), ("org/name", "a.json", "refs/pr/3")]


def test_a_file_that_a_repository_does_not_have_is_none_and_no_network_is_an_error(monkeypatch):
    def fail(error):
        def download(*_, **__):
            raise error("why")

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)

    fail(huggingface_hub.errors.EntryNotFoundError)
    assert hub_file("org/name", "a.json") is None
    for error in (huggingface_hub.errors.LocalEntryNotFoundError, ConnectionError):
        fail(error)
        with pytest.raises(WeightsError, match=r"could not fetch a.json of 'org/name@1'.*why"):
            hub_file("org/name@1", "a.json")
