# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""For tools that still call setup.py: the wheel and the sdist that pyproject.toml describes, built by its backend."""

from typing import ClassVar

from setuptools import Command, setup


class _Build(Command):
    """Hands over to scikit-build-core, which reads pyproject.toml and CMakeLists.txt."""

    user_options: ClassVar = [("dist-dir=", "d", "folder that takes the file (default: dist)")]
    kind = ""

    def initialize_options(self) -> None:
        self.dist_dir = "dist"

    def finalize_options(self) -> None:
        pass

    def run(self) -> None:
        from scikit_build_core import build

        getattr(build, f"build_{self.kind}")(self.dist_dir)


def _command(kind: str) -> type[Command]:
    return type(kind, (_Build,), {"kind": kind, "description": f"build the {kind} with scikit-build-core"})


setup(packages=[], cmdclass={"bdist_wheel": _command("wheel"), "sdist": _command("sdist")})
