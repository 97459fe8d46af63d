"""A candidate program's own process: loads it, and answers calls with plain values.

Runs inside the sandbox, confined. Whatever the program does here, all that leaves the process is
the value of a call or the exception it raised. It is sent arguments, and never what is expected.
Every answer repeats the nonce of what it answers, so that stray bytes are not taken for answers.
"""

from __future__ import annotations

import io
import json
import random
import sys
import types
from typing import Any

from mull.execution import codec
from mull.execution.wire import Channel


class Head(io.TextIOBase):
    """Standard output of a program: the first ``limit`` characters are kept, the rest dropped."""

    def __init__(self, limit: int) -> None:
        self.room = limit
        self.parts: list[str] = []

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, text: str) -> int:
        """Keep what there is room for."""
        if self.room > 0:
            self.parts.append(text[: self.room])
            self.room -= len(text)
        return len(text)


def serve(channel: Channel, output_chars: int = 0) -> None:
    """Load the program that comes first, then answer calls until the channel closes."""
    order = json.loads(channel.receive())
    head = Head(output_chars)
    sys.stdout = sys.stderr = head
    module = types.ModuleType("program")
    sys.modules["program"] = module
    random.seed(0)
    try:
        exec(compile(order["load"], "program.py", "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        channel.send(json.dumps({"error": named(error), "to": order["nonce"]}).encode())
        return
    channel.send(json.dumps({"to": order["nonce"]}).encode())
    while True:
        request = json.loads(channel.receive())
        if "output" in request:
            channel.send(json.dumps({"output": "".join(head.parts), "to": request["nonce"]}).encode())
        else:
            channel.send(_answer(module.__dict__, request, channel.limit))


def named(error: BaseException) -> list[str]:
    """The builtin exception it is one of, its own type's name, and its message."""
    builtin = next(c.__name__ for c in type(error).__mro__ if c.__module__ == "builtins")
    try:
        text = str(error)[:300]
    except BaseException:
        text = ""
    return [builtin, type(error).__name__, text]


def _answer(namespace: dict[str, Any], request: dict[str, Any], limit: int) -> bytes:
    """The frame that answers one call: its value, or the exception it raised."""
    try:
        name = request["call"]
        if name not in namespace:
            raise NameError(f"name {name!r} is not defined")
        args, kwargs = codec.unpack(request["with"])
        value = codec.pack(namespace[name](*args, **kwargs))
        frame = json.dumps({"value": value, "to": request["nonce"]}).encode()
        if len(frame) > limit:
            raise ValueError(f"a value of {len(frame)} bytes; the limit is {limit}")
        return frame
    except BaseException as error:
        return json.dumps({"error": named(error), "to": request["nonce"]}).encode()
