# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What the nodes of demo and bench take from the shell that they are started in."""

from __future__ import annotations

import os

import pytest

from depthclip_ros.ros import processes

ELSEWHERE = {
    "ROS_DISCOVERY_SERVER": "192.168.186.3:11811",
    "ROS_SUPER_CLIENT": "True",
    "ROS_STATIC_PEERS": "192.168.186.3",
    "FASTRTPS_DEFAULT_PROFILES_FILE": "/robot/profile.xml",
}


@pytest.fixture
def shell(monkeypatch):
    """The shell of a robot: `shell("jazzy")`."""
    for name in ("ROS_LOCALHOST_ONLY", "FASTDDS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(name, raising=False)

    def of(distribution):
        for name, value in {**ELSEWHERE, "ROS_DISTRO": distribution}.items():
            monkeypatch.setenv(name, value)

    return of


@pytest.mark.parametrize(("distribution", "localhost_only"), [("humble", "1"), ("jazzy", None)])
def test_private_nodes_stay_on_this_machine_in_every_distribution(shell, distribution, localhost_only):
    shell(distribution)
    private = processes.private_environment(42, shared_memory_profile=False)
    assert private.get("ROS_LOCALHOST_ONLY") == localhost_only
    assert private["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert private["ROS_DOMAIN_ID"] == "42"


def test_private_nodes_go_to_no_server_that_the_shell_names(shell, tmp_path):
    shell("jazzy")
    folder = tmp_path / "lib" / "depthclip_ros"
    folder.mkdir(parents=True)
    (folder / "node").write_text("#!/bin/sh\nexec env\n")
    (folder / "node").chmod(0o755)
    private = processes.private_environment(42, shared_memory_profile=False)
    node = processes.NodeProcess("node", {}, environment=private, log_path=tmp_path / "log", prefix=tmp_path)
    assert node.wait(30) == 0
    assert "ROS_DOMAIN_ID=42" in node.log()
    assert not [name for name in ELSEWHERE if f"{name}=" in node.log()]
    with processes.environment_of(private):
        assert os.environ["ROS_DOMAIN_ID"] == "42"
        assert not ELSEWHERE.keys() & os.environ.keys()
    assert ELSEWHERE.items() <= os.environ.items()
