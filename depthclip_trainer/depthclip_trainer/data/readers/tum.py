# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Reader of TUM RGB-D sequences: `rgb.txt` and `depth.txt` (`STAMP FILE` a line), 16-bit PNG depth, 5000 a metre.

Depth is registered to the colour camera. Intrinsics are the published calibration of the sequence's Kinect
(freiburg1, 2, 3 in the folder's name), those of a `calibration.txt` in the folder (`fx fy cx cy ...`), or given ones.
Lens distortion of freiburg1 and 2 is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Intrinsics
from depthclip_trainer.data.readers.bag import pair_stamps
from depthclip_trainer.data.readers.image_files import frame_of, read_colour, read_depth
from depthclip_trainer.data.sample import Sample

LICENCE = "TUM RGB-D: CC BY 4.0"
UNITS_PER_METRE = 5000.0
TOLERANCE_S = 0.02
CALIBRATION = "calibration.txt"

CAMERAS = {
    "freiburg1": (517.3, 516.5, 318.6, 255.3),
    "freiburg2": (520.9, 521.0, 325.1, 249.7),
    "freiburg3": (535.4, 539.2, 320.1, 247.6),
}
"""fx, fy, cx, cy at 640x480, from the data set's page of file formats."""

UNKNOWN_CAMERA = (525.0, 525.0, 319.5, 239.5)
"""OpenNI's default, which that page recommends where nothing is known."""


class TumSequence:
    """Frames of one sequence; a `FrameSet`.

    Attributes:
        name: of the folder.
        frame_names: stamps of the images as `rgb.txt` has them.
        times_s: the same as numbers.

    Args:
        path: the sequence's folder.
        intrinsics: fx, fy, cx, cy in pixels; empty finds them.

    Raises:
        InputError: a list is missing or does not read, or no pair lies within 0.02 s.
    """

    licence = LICENCE

    def __init__(self, path: str | Path, intrinsics: Sequence[float] = ()) -> None:
        self.path = Path(path)
        self.name = self.path.resolve().name
        images, depths = (read_stamps(self.path / name) for name in ("rgb.txt", "depth.txt"))
        pairs = pair_stamps([ns for ns, _, _ in images], [ns for ns, _, _ in depths], round(TOLERANCE_S * 1e9))
        if not pairs:
            raise InputError(f"{self.path} has no image and depth within {TOLERANCE_S} s of each other")
        self._files = {images[i][1]: (images[i][2], depths[j][2]) for i, j in pairs}
        self.frame_names = tuple(self._files)
        self.times_s = tuple(float(name) for name in self.frame_names)
        self._camera, self._assumed = self._find_camera(intrinsics)

    def read(self, name: str) -> Sample:
        """One frame.

        Raises:
            InputError: a file is missing or broken, image and depth differ in size.
        """
        image_file, depth_file = self._files[name]
        image = read_colour(self.path / image_file)
        depth_m = read_depth(self.path / depth_file, UNITS_PER_METRE)
        camera = Intrinsics(*self._camera, image.shape[1], image.shape[0])
        return frame_of(image, depth_m, camera, f"{self.name}/{name}", self._assumed)

    def _find_camera(self, given: Sequence[float]) -> tuple[tuple[float, float, float, float], bool]:
        values: Sequence[float] = given
        if not values and (self.path / CALIBRATION).is_file():
            values = _calibration(self.path / CALIBRATION)
        if values:
            fx, fy, cx, cy = values
            return (fx, fy, cx, cy), False
        camera = next((c for key, c in CAMERAS.items() if key in self.name.lower()), None)
        return camera or UNKNOWN_CAMERA, camera is None


def read_stamps(path: Path) -> list[tuple[int, str, str]]:
    """(stamp in ns, stamp as written, file) of each line, ascending; `#` begins a comment.

    Raises:
        InputError: the list is missing, or a line has another form.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} does not read: {error}; a TUM sequence has rgb.txt and depth.txt") from error
    rows = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            stamp, file = words
            rows.append((round(float(stamp) * 1e9), stamp, file))
        except ValueError as error:
            raise InputError(f"{path}:{number} is {line[:80]!r}; a line is STAMP FILE") from error
    return sorted(rows)


def is_tum(path: Path) -> bool:
    """Whether a path is a sequence's folder."""
    return (path / "rgb.txt").is_file() and (path / "depth.txt").is_file()


def _calibration(path: Path) -> list[float]:
    for line in path.read_text(errors="replace").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            values = [float(word) for word in words[:4]]
        except ValueError:
            values = []
        if len(values) != 4:
            raise InputError(f"{path} begins with {line[:80]!r}; it takes fx fy cx cy in pixels")
        return values
    raise InputError(f"{path} is empty; it takes fx fy cx cy in pixels")
