# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What a file may do: be read as numbers. Nothing that could run code is called, but in one module that says why."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = sorted([*(REPOSITORY / "depthclip_ros").rglob("*.py"), *(REPOSITORY / "depthclip_trainer").rglob("*.py")])
UNPICKLES = REPOSITORY / "depthclip_trainer" / "depthclip_trainer" / "pickles.py"

RUNS_CODE = {
    *("torch.load", "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter"),
    *("open_clip.create_model", "open_clip.create_model_and_transforms", "open_clip.load_checkpoint"),  # they unpickle
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "eval", "exec"),
}
MODULES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}


def dotted(node):
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def offences(source):
    """Each call or import that could run what a file holds."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if name in RUNS_CODE or keywords.get("allow_pickle") == "True" or keywords.get("weights_only") == "False":
                found.append(f"{name} in line {node.lineno}")
            if keywords.get("trust_remote_code") == "True":
                found.append(f"{name} in line {node.lineno}")
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [f"import {name}" for name in names if name.partition(".")[0] in MODULES]
    return found


@pytest.mark.parametrize("path", [path for path in SOURCES if "tests" not in path.parts], ids=lambda path: path.stem)
def test_nothing_runs_what_a_file_holds(path):
    allowed = 1 if path == UNPICKLES else 0
    assert len(offences(path.read_text())) == allowed, offences(path.read_text())


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(path, weights_only=True)",
        "import pickle",
        "def f():\n    from joblib import load",
        "np.load(path, allow_pickle=True)",
        "open_clip.create_model('ViT-B-32', pretrained='openai')",
        "yaml.load(text, Loader=yaml.Loader)",
        "transformers.AutoModel.from_pretrained(x, trust_remote_code=True)",
    ],
)
def test_an_offence_is_named(source):
    assert offences(source)
