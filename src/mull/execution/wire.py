"""Frames between processes: a length in four bytes, then the frame.

Used on both sides of the sandbox's wall; standard library only. It moves bytes and never looks
into them.
"""

from __future__ import annotations

import socket
import struct

_HEAD = struct.Struct(">I")
_PIECE = 1 << 16


class Ended(BaseException):
    """The other end is gone, or sent what is no frame.

    Not an ``Exception``: a test's own ``except Exception`` is not to swallow it.
    """


class Channel:
    """Blocking frames over one end of a socket pair; a frame holds at most ``limit`` bytes."""

    def __init__(self, end: socket.socket, limit: int) -> None:
        self.socket = end
        self.limit = limit
        self._held = bytearray()

    def send(self, frame: bytes, fd: int | None = None) -> None:
        """Send one frame, and a file descriptor with it; ``ValueError`` if it is too large."""
        if len(frame) > self.limit:
            raise ValueError(f"{len(frame)} bytes; the limit is {self.limit}")
        data = _HEAD.pack(len(frame)) + frame
        try:
            if fd is not None:
                data = data[socket.send_fds(self.socket, [data], [fd]) :]
            self.socket.sendall(data)
        except OSError:
            raise Ended from None

    def receive(self) -> bytes:
        """The next frame; :class:`Ended` if there will be none."""
        while (frame := self.take()) is None:
            try:
                self.grow(self.socket.recv(_PIECE))
            except OSError:
                raise Ended from None
        return frame

    def receive_with_fd(self) -> tuple[bytes, int]:
        """The next frame, and the file descriptor that was sent with it."""
        data, fds, _, _ = socket.recv_fds(self.socket, _PIECE, 1)
        if not fds:
            raise Ended
        self.grow(data)
        return self.receive(), fds[0]

    def close(self) -> None:
        """Close this end."""
        self.socket.close()

    def grow(self, data: bytes) -> None:
        """Take in what was read; :class:`Ended` for nothing, which is what the end reads as."""
        if not data:
            raise Ended
        self._held += data

    def take(self) -> bytes | None:
        """A whole frame, if there is one already; :class:`Ended` for the start of one that is too long."""
        held = self._held
        if len(held) < _HEAD.size:
            return None
        end = _HEAD.size + _HEAD.unpack_from(held)[0]
        if end > _HEAD.size + self.limit:
            raise Ended
        if len(held) < end:
            return None
        frame = bytes(held[_HEAD.size : end])
        del held[:end]
        return frame
