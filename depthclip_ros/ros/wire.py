"""Large messages on their way to DDS: filled where they are sent from, and sent without holding up other threads.

`Publisher.publish(message)` of rclpy copies a message twice before DDS has it and keeps Python's lock all the while: a
cloud of 640x480 stops every other thread for 5 ms and more. What `rcl` is handed here is the serialised message.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.serialization import serialize_message
from sensor_msgs.msg import PointField

from depthclip_ros.ros.conversions import Values, assign

# Of the field `data`, in a message without any: its length. A PointCloud2 has one byte (is_dense) behind it.
EMPTY = b"\0\0\0\0"


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
        self._buffer = np.empty(0, np.uint8)

    def room(self, header: Any, values: Values, size: int) -> NDArray[np.uint8]:
        """Memory for `size` bytes of the field `data`, uint8 [size], to be filled; the rest is filled already.

        Args:
            header: of the message.
            values: of all other fields, as `conversions` gives them.
            size: length of `data`.
        """
        # The middleware's own serialisation, so that nothing of the format is written a second time.
        whole = serialize_message(assign(self._message, header, values, PointField))
        end = len(whole) - hasattr(self._message, "is_dense")
        head, length, tail = whole[: end - 4], whole[end - 4 : end], whole[end:]
        if length != EMPTY:
            raise RuntimeError(f"{type(self._message).__name__} does not end as expected: {whole[-8:]!r}")
        if self._buffer.size != end + size + len(tail):
            self._buffer = np.empty(end + size + len(tail), np.uint8)
        self._buffer[:end] = np.frombuffer(head + size.to_bytes(4, "little"), np.uint8)
        self._buffer[end + size :] = np.frombuffer(tail, np.uint8)
        return self._buffer[end : end + size]

    def fill(self, header: Any, values: Values) -> None:
        """The whole message, `data` (uint8, contiguous) included."""
        others = {name: value for name, value in values.items() if name != "data"}
        self.room(header, others, values["data"].size)[:] = values["data"]

    def publish(self, publisher: Any) -> None:
        """Send it with an rclpy publisher. It may be filled again when this returns.

        Raises:
            RuntimeError: the middleware does not take it.
        """
        rcl = _rcl()
        handle = publisher.handle
        if rcl is None or not hasattr(handle, "pointer"):
            publisher.publish(self._buffer.tobytes())
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
