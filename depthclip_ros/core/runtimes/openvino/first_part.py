# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A network's first part as a model of its own, so that it runs in float32 where the rest runs in bfloat16."""

from __future__ import annotations

import importlib
import re
from typing import Any

from depthclip_ros.core.runtimes.openvino.imported import openvino

PRETRAINED = re.compile(r"\bstem\.\d.*[./]conv[./](conv\.)?\d")
"""An inverted residual of a pretrained stem, as ONNX and torch name its operations."""

FIRST = re.compile(r"\bstem\.[0-2]\b")
"""The levels of a stem down to 1/8.

Batch normalisation of a pretrained one is folded: a convolution's sum is five times what its bias leaves of it, and
bfloat16 has eight bits. All in bfloat16, `fast` is off by 8.7 % at the median pixel of one proof room and 24 % at one
of 100; with these levels in float32 by 0.3 % and 0.7 %."""


def split(model: Any, first: re.Pattern[str] = FIRST) -> tuple[Any, Any] | None:
    """Two models of one: what the operations of these names need, and the rest; None without a pretrained stem.

    The second takes the outputs of the first, in their order.

    Args:
        model: with one input of a fixed size. It can no longer be used.
        first: found in the names of the first part's operations.
    """
    if not any(PRETRAINED.search(operation.get_friendly_name()) for operation in model.get_ordered_ops()):
        return None
    library, passes = openvino(), importlib.import_module("openvino.passes")
    manager = passes.Manager()
    manager.register_pass(passes.ConstantFolding())  # sizes are known: nothing behind asks for the input's
    manager.run_passes(model)
    operations = [operation for operation in model.get_ordered_ops() if operation.get_type_name() != "Constant"]
    inside: set[str] = set()
    waiting = [operation for operation in operations if first.search(operation.get_friendly_name())]
    while waiting:
        operation = waiting.pop()
        if operation.get_friendly_name() not in inside:
            inside.add(operation.get_friendly_name())
            waiting += [port.get_source_output().get_node() for port in operation.inputs()]
    cuts, inputs = [], []
    for output in (output for operation in operations for output in operation.outputs()):
        users = [port for port in output.get_target_inputs() if port.get_node().get_friendly_name() not in inside]
        if users and output.get_node().get_friendly_name() in inside:
            taken = library.op.Parameter(output.get_element_type(), output.get_partial_shape())
            for port in users:
                port.replace_source_output(taken.output(0))
            cuts.append(output)
            inputs.append(taken)
    results = [result.input_value(0) for result in model.get_results()]
    return library.Model(cuts, model.get_parameters()), library.Model(results, inputs)
