# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What is doubtful about the frame_ids of one camera's images: their depth has them too, and others go by them."""

from __future__ import annotations

MANY = 8  # names of one camera


class FrameNames:
    """Looks at each image's frame_id; each kind of doubt is said once."""

    def __init__(self) -> None:
        self._last: str | None = None
        self._seen: set[str] = set()
        self._said: set[str] = set()

    def doubt(self, frame_id: str) -> str:
        """One sentence about "the images", or "" where there is nothing (more) to say."""
        if frame_id == self._last:
            return ""
        before, self._last = self._last, frame_id
        kind, sentence = self._judge(before, frame_id)
        if len(self._seen) < MANY:
            self._seen.add(frame_id)
        if kind in self._said:
            return ""
        self._said.add(kind)
        return sentence

    def _judge(self, before: str | None, frame_id: str) -> tuple[str, str]:
        """Kind and sentence."""
        if not frame_id:
            return "none", "have no frame_id, so RViz and Nav2 cannot place their depth; set it at the camera"
        if frame_id.startswith("/"):
            return "slash", (
                f"have the frame_id {frame_id}, and tf2 knows no name that begins with /; set {frame_id.lstrip('/')} "
                "at the camera"
            )
        if len(self._seen) >= MANY:
            return "many", (
                f"have another frame_id again and again, now {frame_id}, and nobody publishes a transform for each; "
                "set one at the camera"
            )
        if frame_id in self._seen:
            return "several", (
                f"have the frame_ids {before} and {frame_id} in turn: several cameras publish there, and one "
                "camera_info cannot be that of all; give each its own topic, and name them in `cameras`"
            )
        return "", ""
