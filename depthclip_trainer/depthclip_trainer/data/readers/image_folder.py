"""Reader of plain images without depth, however deep in a folder; their field of view is assumed.

To learn from them they need a teacher's labels: `depthclip-train pseudo-label`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depthclip_ros.core.types import Intrinsics
from depthclip_trainer.data.readers.image_files import frame_of, read_colour
from depthclip_trainer.data.readers.pictures_in import PICTURE_SUFFIXES, find_pictures
from depthclip_trainer.data.readers.rgbd_folder import ASSUMED_HFOV_DEG
from depthclip_trainer.data.sample import Sample


class ImageFolder:
    """Images of a folder; a `FrameSet` in which no pixel has a depth.

    Attributes:
        name: of the folder.
        frame_names: paths of the images below it, in order. Folders named `depth` are passed over.

    Args:
        path: the folder.
        hfov_deg: horizontal field of view that is assumed.

    Raises:
        InputError: no folder, no image, a field of view outside 0..180 degrees.
        ConfigError: the project's test frames.
    """

    def __init__(self, path: str | Path, hfov_deg: float = ASSUMED_HFOV_DEG) -> None:
        found = find_pictures(Path(path), 1)
        self.path, self.name, self.licence = Path(path), found.description, found.licence
        self.hfov_deg = hfov_deg
        Intrinsics.from_hfov(hfov_deg, 1, 1)  # a bad angle is one error, not one a frame
        self._paths = {n: p for piece in found.pieces for n, p in zip(piece.names, piece.paths, strict=True)}
        self.frame_names = tuple(self._paths)

    def read(self, name: str) -> Sample:
        """One image, no depth.

        Raises:
            InputError: the file is missing or broken.
        """
        image = read_colour(self._paths[name])
        camera = Intrinsics.from_hfov(self.hfov_deg, image.shape[1], image.shape[0])
        return frame_of(image, np.zeros(image.shape[:2], np.float32), camera, f"{self.name}/{name}", True)


def is_image_folder(path: Path) -> bool:
    """Whether a folder has an image in it, at any depth of folders."""
    return path.is_dir() and any(p.suffix.lower() in PICTURE_SUFFIXES for p in path.rglob("*"))
