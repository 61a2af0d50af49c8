# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What a running training shows: a bar on a terminal, plain lines elsewhere, CSV and TensorBoard always."""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path
from types import TracebackType

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch.utils.tensorboard import SummaryWriter


class TrainingLog:
    """Numbers of one training, by step.

    Args:
        folder: holds `log.csv` (one row per number: step, name, value) and the TensorBoard events.
        log_every: steps between lines.
        step: that training goes on after; what a killed training logged beyond it is taken back.
        quiet: write nothing (processes other than the first).
    """

    def __init__(self, folder: Path, log_every: int, step: int = 0, quiet: bool = False) -> None:
        self.log_every, self.quiet = log_every, quiet
        self._images, self._since = 0, time.monotonic()
        if quiet:
            return
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "log.csv").is_file():
            _take_back(folder / "log.csv", step)
        self._file = (folder / "log.csv").open("a", newline="")
        self._csv = csv.writer(self._file)
        if self._file.tell() == 0:
            self._csv.writerow(["step", "name", "value"])
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn(),
            disable=not sys.stdout.isatty(),
        )  # fmt: skip
        self._task = self._bar.add_task("train", total=1.0, text="")

    def __enter__(self) -> TrainingLog:
        if not self.quiet:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.quiet:
            self._bar.stop()
            self._file.close()
            self._board.close()

    def count(self, images: int) -> None:
        """One optimiser step's images, for images/s."""
        self._images += images

    def step(self, step: int, progress: float, elapsed_s: float, numbers: dict[str, float]) -> None:
        """Writes the numbers of the steps since the last call, images/s and the time left."""
        now = time.monotonic()
        rate = self._images / max(1e-9, now - self._since)
        self._images, self._since = 0, now
        if self.quiet:
            return
        left_s = elapsed_s * (1 - progress) / max(progress, 1e-6)
        text = f"loss {numbers['loss']:.4f}  {rate:.1f} images/s  {_clock(left_s)} left"
        self.write(step, {**numbers, "images_per_s": rate, "elapsed_s": elapsed_s})
        if self._bar.disable:
            print(f"step {step}  {progress:6.1%}  {text}", flush=True)
        else:
            self._bar.update(self._task, completed=progress, description=f"step {step}", text=text)

    def pause(self, seconds: float) -> None:
        """Time that was not spent on steps (an evaluation, a checkpoint) does not count in images/s."""
        self._since += seconds

    def write(self, step: int, numbers: dict[str, float]) -> None:
        """One row of the CSV and one TensorBoard scalar per number."""
        if self.quiet:
            return
        for name, value in numbers.items():
            self._csv.writerow([step, name, f"{value:.6g}"])
            self._board.add_scalar(name, value, step)
        self._file.flush()

    def say(self, text: str) -> None:
        """A line for people, above the bar."""
        if not self.quiet:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _take_back(path: Path, step: int) -> None:
    """Keeps of a log what was logged up to `step`, whole lines only."""
    with path.open(newline="") as file:
        rows = [row for row in csv.reader(file) if len(row) == 3]
    kept = [row for row in rows if row[0] == "step" or (row[0].isdigit() and int(row[0]) <= step)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(kept)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
