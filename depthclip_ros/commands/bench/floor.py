# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The floor: what a network must take on this machine, from its operations and bytes and the machine's rates."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Rows x inner x columns of products as networks have them: tokens by width by four widths; the last is for the GPU.
SHAPES = ((320, 224, 896), (1320, 768, 3072), (2048, 2048, 2048), (8192, 4096, 4096))
LARGEST_ON_CPU = 3  # of SHAPES
LONGEST_PRODUCT_S = 0.5
COPIES_MB = (4, 16, 64, 256)
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}
ON_DEVICE = {"cpu": ("fp32", "bf16", "int8"), "cuda": ("fp32", "bf16", "fp16", "int8")}


@dataclass(frozen=True)
class Machine:
    """What a device was seen to do at best.

    Attributes:
        rates: operations (a multiplication and an addition are two) per second by precision, of matrix products.
        copies: bytes moved (read and written) per second, by the size in bytes of what was moved.
    """

    rates: Mapping[str, float]
    copies: Mapping[int, float]

    def floor_ms(self, operations: float, size_bytes: float, precision: str) -> float | None:
        """The longer of operations over rate and bytes over bandwidth; None without a rate for the precision."""
        rate = self.rates.get(precision)
        if rate is None:
            return None
        fitting = [moved for moved in self.copies if moved <= size_bytes] or [min(self.copies)]
        return 1e3 * max(operations / rate, size_bytes / self.copies[max(fitting)])

    def best_of(self, other: Machine) -> Machine:
        """The better of both in everything: what a busy moment hid shows at another time."""
        return Machine(_best(self.rates, other.rates), _best(self.copies, other.copies))


@dataclass(frozen=True)
class Work:
    """What a network does to one image.

    Attributes:
        operations: of matrix products, convolutions and attention.
        weights: numbers of the parameters that it reads.
        activations: numbers that these operations read and write; all others are taken to be fused into them.
    """

    operations: float
    weights: int
    activations: int

    def size_bytes(self, precision: str, batch: int = 1) -> float:
        """Bytes that are moved for a batch."""
        return BYTES[precision] * (self.weights + self.activations * batch)


def _best(a: Mapping[Any, float], b: Mapping[Any, float]) -> dict[Any, float]:
    return {key: max(rates.get(key, 0.0) for rates in (a, b)) for key in {**a, **b}}


def measure_machine(device: str, tries: int) -> Machine:
    """Rates of a device ("cpu", "cuda:N"), each the best of several tries and shapes."""
    import torch

    where = torch.device(device)
    shapes = SHAPES if where.type == "cuda" else SHAPES[:LARGEST_ON_CPU]
    rates = {}
    for precision in ON_DEVICE[where.type]:
        found = []
        for rows, inner, columns in shapes:
            if found and 2.0 * rows * inner * columns / max(found) > LONGEST_PRODUCT_S:
                break  # emulated: a larger product is no faster, and takes minutes
            with contextlib.suppress(RuntimeError, NotImplementedError):  # no such product on this device
                multiply = _product(precision, rows, inner, columns, where)
                found.append(2.0 * rows * inner * columns / _best_s(multiply, where, tries))
        if found:
            rates[precision] = max(found)
    copies = {}
    for megabytes in COPIES_MB:
        source = torch.zeros(megabytes * 2**18, device=where)
        target = torch.empty_like(source)

        def copy(source: Tensor = source, target: Tensor = target) -> None:
            target.copy_(source)

        copies[2 * source.nbytes] = 2 * source.nbytes / _best_s(copy, where, tries)
    return Machine(rates, copies)


def _product(precision: str, rows: int, inner: int, columns: int, device: torch.device) -> Callable[[], Any]:
    import torch

    if precision == "int8":
        left = torch.randint(-127, 127, (rows, inner), dtype=torch.int8, device=device)
        right = torch.randint(-127, 127, (inner, columns), dtype=torch.int8, device=device)
        return lambda: torch._int_mm(left, right)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    a = torch.randn(rows, inner, device=device).to(dtype)
    b = torch.randn(inner, columns, device=device).to(dtype)
    return lambda: a @ b


def _best_s(function: Callable[[], Any], device: torch.device, tries: int) -> float:
    """Shortest time of a call, taken over enough calls in a row to be told from the clock's ticks."""
    import torch

    def run(count: int) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start_s = time.perf_counter()
        for _ in range(count):
            function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (time.perf_counter() - start_s) / count

    once_s = min(run(1), run(1))
    count = max(1, min(200, int(0.02 / max(once_s, 1e-6))))
    return min(once_s, *(run(count) for _ in range(tries)))


def measure_work(model: torch.nn.Module, inputs: Tensor) -> Work:
    """Count what a model does to one image [1, 3, h, w]."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import FlopCounterMode

    from depthclip_ros.core.runtimes.pixel_network import plain_attention

    counter = FlopCounterMode(
        display=False,
        custom_mapping={torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_operations},
    )
    counted = set(counter.flop_registry)
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    read: dict[int, int] = {}
    moved = 0

    class Traffic(TorchDispatchMode):
        """Numbers that go into and out of the operations that FlopCounterMode counts."""

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal moved
            result = func(*args, **(kwargs or {}))
            if func._overloadpacket in counted:
                for tensor in _tensors((args, result)):
                    storage = tensor.untyped_storage().data_ptr()
                    if storage in parameters:
                        read[storage] = tensor.numel()
                    else:
                        moved += tensor.numel()
            return result

    with plain_attention(), torch.no_grad(), counter, Traffic():
        model(inputs)
    return Work(float(counter.get_total_flops()), sum(read.values()), moved)


def _attention_operations(
    query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], *_: Any, **__: Any
) -> int:
    """Of query · keyᵀ and what follows of it · value, shapes [B, heads, N, D]: torch before 2.15 leaves both out."""
    return 2 * math.prod(query[:3]) * key[2] * (query[3] + value[3])


def _tensors(value: Any) -> Iterator[Tensor]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)
