# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Large messages on their way to DDS: filled where they are sent from, and sent without holding up other threads.

`Publisher.publish(message)` of rclpy copies a message twice before DDS has it and keeps Python's lock all the while: a
cloud of 640x480 stops every other thread for 5 ms and more. What `rcl` is handed here is the serialised message. Where
that cannot be (no rcl to be found, a middleware that serialises in another way), `publish(message)` serves.
"""

from __future__ import annotations

import array
import ctypes
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.serialization import serialize_message
from sensor_msgs.msg import PointField

from depthclip_ros.ros.conversions import Values, assign

LENGTH = 4  # bytes that say how long the field `data` is. A PointCloud2 has one byte (is_dense) behind it.
PROBE = b"\x5a\xa5\x3c\xc3\x99"  # of an odd size, which one that pads messages would pad


class _SerializedMessage(ctypes.Structure):
    """rcl_serialized_message_t, which is a rcutils_uint8_array_t; nothing here ever resizes it."""

    _fields_ = [
        ("buffer", ctypes.c_void_p),
        ("buffer_length", ctypes.c_size_t),
        ("buffer_capacity", ctypes.c_size_t),
        ("allocator", ctypes.c_void_p * 5),
    ]


class WireMessage:
    """A sensor_msgs Image or PointCloud2 as DDS sends it; its memory is kept from frame to frame.

    One thread at a time: `fill` or `room`, then `publish`.
    """

    def __init__(self, message_type: Any) -> None:
        self._message = message_type()
        self._buffer = self._data = np.empty(0, np.uint8)
        self._plain: bool | None = None  # sent by `publish(message)`; None: not yet known

    def room(self, header: Any, values: Values, size: int) -> NDArray[np.uint8]:
        """Memory for `size` bytes of the field `data`, uint8 [size], to be filled; the rest is filled already.

        Args:
            header: of the message.
            values: of all other fields, as `conversions` gives them.
            size: length of `data`.
        """
        # The middleware's own serialisation, so that nothing of the format is written a second time.
        self._message.data = array.array("B")
        whole = serialize_message(assign(self._message, header, values, PointField))
        end = len(whole) - hasattr(self._message, "is_dense")
        head, tail = whole[: end - LENGTH], whole[end:]
        if self._plain is None:
            self._message.data = array.array("B", PROBE)
            ends = len(PROBE).to_bytes(LENGTH, "little") + PROBE + tail
            self._plain = _rcl() is None or serialize_message(self._message)[end - LENGTH :] != ends
            self._message.data = array.array("B")
        if self._plain:
            head, tail, end = b"", b"", LENGTH
        if self._buffer.size != end + size + len(tail):
            self._buffer = np.empty(end + size + len(tail), np.uint8)
        if not self._plain:
            self._buffer[:end] = np.frombuffer(head + size.to_bytes(LENGTH, "little"), np.uint8)
            self._buffer[end + size :] = np.frombuffer(tail, np.uint8)
        self._data = self._buffer[end : end + size]
        return self._data

    def fill(self, header: Any, values: Values) -> None:
        """The whole message, `data` (uint8, contiguous) included."""
        others = {name: value for name, value in values.items() if name != "data"}
        self.room(header, others, values["data"].size)[:] = values["data"]

    def publish(self, publisher: Any) -> None:
        """Send it with an rclpy publisher. It may be filled again when this returns.

        Raises:
            RuntimeError: the middleware does not take it.
        """
        rcl, handle = _rcl(), publisher.handle
        if self._plain or not hasattr(handle, "pointer"):
            self._message.data.frombytes(self._data)
            publisher.publish(self._message)
            self._message.data = array.array("B")
            return
        size = self._buffer.size
        message = _SerializedMessage(self._buffer.ctypes.data, size, size)
        with handle:  # which keeps it from being destroyed meanwhile
            pointer = ctypes.c_void_p(handle.pointer)
            code = rcl.rcl_publish_serialized_message(pointer, ctypes.byref(message), None)
        if code != 0:
            raise RuntimeError(f"{publisher.topic_name} could not be published: rcl returns {code}")


@functools.cache
def _rcl() -> Any:
    """The library that rclpy has loaded; ctypes gives Python's lock away while it is at work. None where it hides."""
    try:
        return ctypes.CDLL("librcl.so")
    except OSError:
        return None
