# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What a random room may look like: the ranges that everything random is drawn from, as named presets."""

from __future__ import annotations

from dataclasses import dataclass, field

from depthclip_ros.core.errors import ConfigError

Range = tuple[float, float]


@dataclass(frozen=True)
class SceneRanges:
    """Closed ranges (low, high) of a room, of what stands in it, and of the camera that looks at it.

    Attributes:
        room_width_m, room_length_m, room_height_m: inner size of the shell.
        furniture_per_m2: pieces of furniture tried per square metre of floor.
        floor_clutter: loose things on the floor.
        surface_clutter_per_m2: things per square metre of every table top, shelf and cabinet top.
        light_count: ceiling lamps (a window adds its own light).
        partition_share: share of large rooms that an inner wall with an open doorway divides.
        camera_height_m, pitch_deg (negative looks down), roll_deg, hfov_deg: a robot's or a person's camera.
        close_up_share: share of pictures that look at a table top or a shelf from `close_up_distance_m`.
        close_up_pitch_deg: pitch of those pictures.
        nearest_m: no visible surface lies nearer (on a coarse grid of rays).
        mix: presets (name, weight) of which one is drawn by the scene's seed; the other fields are then unused.

    Raises:
        ConfigError: a range whose low end is above its high end, or an unknown preset in `mix`.
    """

    room_width_m: Range = (2.6, 6.0)
    room_length_m: Range = (2.8, 7.0)
    room_height_m: Range = (2.3, 3.2)
    furniture_per_m2: Range = (0.4, 1.4)
    floor_clutter: Range = (0, 14)
    surface_clutter_per_m2: Range = (1.5, 12.0)
    light_count: Range = (1, 2)
    partition_share: float = 0.35
    camera_height_m: Range = (0.2, 1.8)
    pitch_deg: Range = (-28.0, 10.0)
    roll_deg: Range = (-5.0, 5.0)
    hfov_deg: Range = (40.0, 110.0)
    close_up_share: float = 0.0
    close_up_distance_m: Range = (0.3, 1.5)
    close_up_pitch_deg: Range = (-65.0, -8.0)
    nearest_m: float = 0.15
    mix: tuple[tuple[str, float], ...] = field(default=())

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "mix" and isinstance(value, tuple) and not value[0] <= value[1]:
                raise ConfigError(f"{name} is {value}; the low end must not be above the high end")
        for name, _ in self.mix:
            if name not in PRESETS:
                raise ConfigError(f"scene preset {name!r} is unknown; there are {', '.join(PRESETS)}")

    @classmethod
    def preset(cls, name: str) -> SceneRanges:
        """Ranges by name: "rooms", "tabletop", "floor" (a small robot's camera), "hall" or "mixed".

        Raises:
            ConfigError: an unknown name.
        """
        if name not in PRESETS:
            raise ConfigError(f"scene preset {name!r} is unknown; there are {', '.join(PRESETS)}")
        return PRESETS[name]


PRESETS: dict[str, SceneRanges] = {
    "rooms": SceneRanges(),
    "tabletop": SceneRanges(
        room_width_m=(2.6, 4.5),
        room_length_m=(2.8, 5.0),
        surface_clutter_per_m2=(6.0, 24.0),
        hfov_deg=(40.0, 85.0),
        roll_deg=(-8.0, 8.0),
        close_up_share=1.0,
        nearest_m=0.12,
    ),
    "floor": SceneRanges(
        floor_clutter=(3, 20),
        camera_height_m=(0.08, 0.6),
        pitch_deg=(-30.0, 6.0),
        hfov_deg=(45.0, 100.0),
        nearest_m=0.12,
    ),
    "hall": SceneRanges(
        room_width_m=(2.0, 8.0),
        room_length_m=(6.5, 11.0),
        room_height_m=(2.4, 3.4),
        furniture_per_m2=(0.12, 0.6),
        light_count=(2, 3),
        partition_share=0.5,
    ),
}
PRESETS["mixed"] = SceneRanges(mix=(("rooms", 0.6), ("tabletop", 0.25), ("hall", 0.15)))
