# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A scene as flat tensors: primitives that are affine images of unit shapes, materials, lights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Unit shapes. A primitive's world-to-unit matrix maps it onto one of them.
BOX, ROUND, SPHERE, BOWL, TUBE, ROOM = range(6)
"""BOX |x|,|y|,|z| <= 1; ROUND a capped cone frustum along z of radius 1 at z = -1 and `taper` at z = 1;
SPHERE; BOWL its open lower half; TUBE a ROUND without its upper cap; ROOM a BOX seen from inside."""

# Rows of the primitive table.
MATRIX, CENTRE, HALF, KIND, TAPER, MATERIAL, FACES, CASTS, RADIUS = 0, 9, 12, 15, 16, 17, 18, 19, 20
PRIMITIVE_ROWS = 21
# Rows of the material table: three linear colours, pattern, its period and offset (u, v), swap, gloss, emission, stain.
# A pattern of -1 - k is photograph k of the batch, multiplied by the first colour.
COLOUR_0, COLOUR_1, COLOUR_2, TEXTURE, PERIOD, OFFSET, SWAP, SPECULAR, SHININESS, EMISSION, GRAIN = (
    0, 3, 6, 9, 10, 12, 14, 15, 16, 17, 18,
)  # fmt: skip
MATERIAL_ROWS = 19
# Rows of the light table: centre, two half axes of its area, its normal (0 shines everywhere), linear colour,
# sun direction (towards the sun; 0 for a lamp).
LIGHT_AT, LIGHT_U, LIGHT_V, LIGHT_NORMAL, LIGHT_COLOUR, LIGHT_SUN = 0, 3, 6, 9, 12, 15
LIGHT_ROWS = 18


@dataclass(frozen=True)
class Scene:
    """One closed room. World frame: metres, z up, floor at z = 0, room centred on the origin.

    Attributes:
        primitives: float32 [PRIMITIVE_ROWS, P]; column 0 is the room's shell.
        materials: float32 [MATERIAL_ROWS, M].
        lights: float32 [LIGHT_ROWS, L].
        ambient: float32 [3, 2], light from above and from below.
        focus: float32 [F, 3] points on table tops and shelves, worth a close look; F may be 0.
        preset: name of the preset that it was drawn from, "" for ranges of one's own.
    """

    primitives: Tensor
    materials: Tensor
    lights: Tensor
    ambient: Tensor
    focus: Tensor
    preset: str = ""

    @property
    def room_size_m(self) -> tuple[float, float, float]:
        """Inner width (x), length (y) and height (z) of the shell."""
        x, y, z = (2 * self.primitives[HALF : HALF + 3, 0]).tolist()
        return x, y, z

    def to(self, device: str | torch.device) -> Scene:
        """The same scene on another device."""
        return Scene(
            self.primitives.to(device),
            self.materials.to(device),
            self.lights.to(device),
            self.ambient.to(device),
            self.focus.to(device),
            self.preset,
        )


@dataclass(frozen=True)
class SceneBatch:
    """Several scenes padded to one size.

    Attributes:
        primitives: float32 [PRIMITIVE_ROWS, B * P]; MATERIAL counts through the whole batch. Padding has RADIUS -1.
        materials: float32 [MATERIAL_ROWS, M], of all scenes.
        lights: float32 [B, LIGHT_ROWS, L]; padding is black.
        ambient: float32 [B, 3, 2].
        size: B.
        slots: P.
        photographs: as `textures.photograph_bank` gives them, on the same device; None for none.
    """

    primitives: Tensor
    materials: Tensor
    lights: Tensor
    ambient: Tensor
    size: int
    slots: int
    photographs: Tensor | None = None

    @classmethod
    def stack(cls, scenes: Sequence[Scene], photographs: Tensor | None = None) -> SceneBatch:
        """Put scenes of one device side by side."""
        slots = max(s.primitives.shape[1] for s in scenes)
        light_slots = max(s.lights.shape[1] for s in scenes)
        device = scenes[0].primitives.device
        primitives = torch.zeros(PRIMITIVE_ROWS, len(scenes), slots, device=device)
        primitives[RADIUS] = -1.0
        lights = torch.zeros(len(scenes), LIGHT_ROWS, light_slots, device=device)
        first_material = 0
        for i, scene in enumerate(scenes):
            count = scene.primitives.shape[1]
            primitives[:, i, :count] = scene.primitives
            primitives[MATERIAL, i, :count] += first_material
            first_material += scene.materials.shape[1]
            lights[i, :, : scene.lights.shape[1]] = scene.lights
        return cls(
            primitives.flatten(1),
            torch.cat([s.materials for s in scenes], 1),
            lights,
            torch.stack([s.ambient for s in scenes]),
            len(scenes),
            slots,
            photographs,
        )
