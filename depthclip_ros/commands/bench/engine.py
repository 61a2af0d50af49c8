# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The engine by system, runtime, precision, size and batch, beside torch eager, Depth Anything and the floor."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from depthclip_ros.commands.bench import floor
from depthclip_ros.commands.bench.settings import (
    MAIN_SIZE,
    STAGES,
    Row,
    Settings,
    Unit,
    interleaved,
    ratio,
    sample_camera,
    sample_image,
    size_name,
)
from depthclip_ros.commands.bench.systems import REFERENCE, System, chosen, reference_weights, weights_of
from depthclip_ros.core.errors import ConfigError, DeviceError
from depthclip_ros.core.present import is_installed, require_torch

if TYPE_CHECKING:
    from depthclip_ros.core.engine import DepthEngine
    from depthclip_ros.core.model.contract import DepthModel

EAGER = ("torch eager", "fp32")
TORCH = ("torch", "fp32")
BATCHES = (1, 2, 4)
# By what torch eager takes for one image. A fast network is measured in every runtime at every size and batch; a slow
# one with one image of the main size only, and Depth Anything beside `auto` and torch alone; the others at further
# sizes and batches as `auto` runs them.
FAST_MS, SLOW_MS = 60.0, 300.0
BUDGET_S, SMALL_BUDGET_S, QUICK_BUDGET_S = 14.0, 4.0, 1.5  # of one group of calls that are taken in turn

Key = tuple[str, str]


def units(settings: Settings) -> list[Unit]:
    """One for each system."""
    systems = chosen(settings.systems, settings.weights, settings.quick)
    return [Unit("engine", one.label, functools.partial(_measure_system, settings, one)) for one in systems]


def machine_of(device: str, quick: bool) -> floor.Machine:
    """The device's rates; measured before each system, and the best of the run so far."""
    measured = floor.measure_machine(device, tries=1 if quick else 5)
    _machines[device] = _machines[device].best_of(measured) if device in _machines else measured
    return _machines[device]


def known_machine() -> floor.Machine | None:
    """The best that was measured of the device, if it was."""
    return next(iter(_machines.values()), None)


def set_floor(row: Row, machine: floor.Machine) -> None:
    """A row's floor, from its operations and bytes and the rates that are known by now."""
    operations, size_bytes = row["gigaoperations"] * 1e9, row["megabytes"] * 1e6
    precision = (row["ran"] or row["precision"]).split()[-1]
    row["floor_ms"] = machine.floor_ms(operations, size_bytes, precision)
    row["network_over_floor"] = ratio(row["network_ms"], row["floor_ms"])


_machines: dict[str, floor.Machine] = {}


def options_of(device: str) -> list[Key]:
    """Every runtime and precision that this machine has for a device ("cpu", "cuda:0")."""
    from depthclip_ros.core.runtimes.runtime import runtime_options

    return list(runtime_options(device))


def device_of(name: str) -> str:
    """The device that "auto" means.

    Raises:
        ConfigError: another than the CPU, without torch.
    """
    if name in ("auto", "cpu") and not is_installed("torch"):
        return "cpu"
    require_torch(f"--device {name}")
    from depthclip_ros.core.runtimes.devices import find_device

    return str(find_device(name))


@dataclass
class Eager:
    """The baseline: the network in plain torch, float32, eager, as a script would run it; and what it is made of."""

    model: DepthModel
    device: str

    def call(self, size_px: tuple[int, int], batch: int) -> Callable[[], dict[str, float]]:
        """Resize and normalise with torch, the network, resize back."""
        import torch
        from torch.nn.functional import interpolate

        model, device = self.model, self.device
        images = np.stack([sample_image(size_px)] * batch)
        width, height = model.network_size(*size_px)
        mean, std = (torch.tensor(one, device=device).view(1, 3, 1, 1) for one in (model.image_mean, model.image_std))

        def run() -> dict[str, float]:
            times_s = [time.perf_counter()]
            with torch.inference_mode():
                pixels = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 255
                inputs = (interpolate(pixels, (height, width), mode="bilinear", antialias=True) - mean) / std
                self._wait(times_s)
                depth = model(inputs).depth[:, None]
                self._wait(times_s)
                interpolate(depth.float(), size_px[::-1], mode="bilinear", align_corners=True).cpu()
            self._wait(times_s)
            return _named(times_s)

        return run

    def work(self, size_px: tuple[int, int]) -> floor.Work:
        """Operations and bytes of one image."""
        import torch

        width, height = self.model.network_size(*size_px)
        return floor.measure_work(self.model, torch.zeros(1, 3, height, width, device=self.device))

    def _wait(self, times_s: list[float]) -> None:
        import torch

        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)
        times_s.append(time.perf_counter())


def _named(times_s: list[float]) -> dict[str, float]:
    spans = [(after - before) * 1e3 for before, after in pairwise(times_s)]
    return {**{f"{stage}_ms": span for stage, span in zip(STAGES, spans, strict=True)}, "total_ms": sum(spans)}


def _call(engine: DepthEngine, size_px: tuple[int, int], batch: int) -> Callable[[], dict[str, float]]:
    images = np.stack([sample_image(size_px)] * batch)
    cameras = [sample_camera(size_px)] * batch

    def run() -> dict[str, float]:
        start_s = time.perf_counter()
        timings = engine.infer(images, cameras).timings_ms
        total_ms = (time.perf_counter() - start_s) * 1e3
        return {**{f"{stage}_ms": timings[stage] for stage in STAGES}, "total_ms": total_ms}

    return run


@contextlib.contextmanager
def _engines(
    weights: str, settings: Settings, device: str, what: str, keys: Iterable[Key]
) -> Iterator[dict[Key, DepthEngine]]:
    """The weights in runtimes and precisions; one that cannot be had at all is said and left out."""
    from depthclip_ros.core.engine import DepthEngine

    engines: dict[Key, DepthEngine] = {}
    with contextlib.ExitStack() as stack:
        for runtime, precision in keys:
            settings.say(f"engine: loading {what} in {runtime} {precision}")
            try:
                engine = DepthEngine.load(weights, runtime=runtime, device=device, precision=precision)
            except (ConfigError, DeviceError) as error:
                settings.say(f"{what}: {runtime} {precision} is left out: {error}")
                continue
            stack.callback(engine.close)
            engines[runtime, precision] = engine
        yield engines


def _auto(weights: str, device: str) -> Key:
    """What the node takes when it is left to choose."""
    from depthclip_ros.core.engine import DepthEngine

    engine = DepthEngine.load(weights, runtime="auto", device=device)
    engine.warm_up(*MAIN_SIZE)  # a runtime may step aside when it sees its first size
    engine.close()
    return engine.runtime, engine.precision


def _measure_system(settings: Settings, system: System) -> list[Row]:
    from depthclip_ros.core.weights.load import load_weights

    weights, device, main_px = weights_of(system), device_of(settings.device), settings.sizes_px[0]
    eager = Eager(load_weights(weights).model.prepare_inference().to(device), device)
    auto = _auto(weights, device)
    quick_look_ms = interleaved({EAGER: eager.call(main_px, 1)}, budget_s=0, least=2)[EAGER]["total_ms"]
    machine = machine_of(device, settings.quick)
    rows: list[Row] = []
    wanted = [key for key in options_of(device) if not settings.precisions or key[1] in settings.precisions]
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(_engines(weights, settings, device, system.label, wanted))
        others: dict[Key, DepthEngine] = {}
        if system.label != REFERENCE:
            # Nothing is compared with what stepped aside, so nothing is made for that either.
            proved = [key for key, engine in ours.items() if (engine.runtime, engine.precision) == key]
            if quick_look_ms > SLOW_MS and not settings.full:  # proofs of slow networks take minutes
                proved = [key for key in proved if key in (auto, TORCH)]
            reference = reference_weights(eager.model.config.input_pixels)
            others = stack.enter_context(_engines(reference, settings, device, REFERENCE, proved))
        for size_px, batch in _cases(settings, quick_look_ms):
            main = (size_px, batch) == (main_px, 1)
            keys = [key for key in ours if main or settings.full or quick_look_ms < FAST_MS or key == auto]
            calls = {EAGER: eager.call(size_px, batch), **{key: _call(ours[key], size_px, batch) for key in keys}}
            if main:
                calls |= {("reference", *key): _call(others[key], size_px, 1) for key in keys if key in others}
            settings.say(f"engine: {system.label}, {size_name(size_px)}, batch {batch}")
            budget_s = QUICK_BUDGET_S if settings.quick else BUDGET_S if main else SMALL_BUDGET_S
            times = interleaved(calls, budget_s=budget_s, most=40)
            shared = {
                "system": system.label,
                "image": size_name(size_px),
                "batch": batch,
                "device": device,
                "network": size_name(eager.model.network_size(*size_px)),
                "eager_ms": times[EAGER]["total_ms"],
            }
            work = eager.work(size_px)
            for key in (EAGER, *keys):
                engine = ours.get(key)
                reference_ms = _reference_ms(times, others, key)
                rows.append(
                    shared | {"auto": key == auto} | _figures(key, engine, times[key], reference_ms, work, shared)
                )
    for row in rows:
        set_floor(row, machine)
    return rows


def _cases(settings: Settings, eager_ms: float) -> list[tuple[tuple[int, int], int]]:
    """(size, batch) to measure, the main one first."""
    first, *further = settings.sizes_px
    if settings.quick or (eager_ms > SLOW_MS and not settings.full):
        return [(first, 1)]
    sizes = [(size, batch) for size in further for batch in (BATCHES if settings.full else (1,))]
    return [(first, 1), *sizes, *((first, batch) for batch in BATCHES[1:])]


def _reference_ms(times: dict[Any, dict[str, float]], others: dict[Key, DepthEngine], key: Key) -> float | None:
    """Depth Anything's time in the same runtime and precision; None where it was not measured or ran otherwise."""
    engine = others.get(key)
    if engine is None or ("reference", *key) not in times or (engine.runtime, engine.precision) != key:
        return None
    return times[("reference", *key)]["total_ms"]


def _figures(
    key: Key,
    engine: DepthEngine | None,
    times: dict[str, float],
    reference_ms: float | None,
    work: floor.Work,
    shared: Row,
) -> Row:
    runtime, precision = (engine.runtime, engine.precision) if engine else key
    aside = (runtime, precision) != key  # for a runtime that could not prove itself: named, and compared with nothing
    reference_ms = None if aside else reference_ms
    return {
        "runtime": key[0],
        "precision": key[1],
        "ran": f"{runtime} {precision}" if aside else None,
        "notices": list(engine.notices) if engine else [],
        **times,
        "images_per_s": 1e3 * shared["batch"] / times["total_ms"],
        "times_eager": ratio(shared["eager_ms"], times["total_ms"]),
        "reference_ms": reference_ms,
        "times_reference": ratio(reference_ms, times["total_ms"]),
        "gigaoperations": work.operations * shared["batch"] / 1e9,
        "megabytes": work.size_bytes(precision, shared["batch"]) / 1e6,
    }
