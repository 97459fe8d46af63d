"""The tests' own process: runs tests, calls the program across the wall, and passes judgement.

Runs inside the sandbox, confined as the programs are, since tests may be a model's work too. No
candidate's code is ever loaded here. Tests that leave nothing behind (:mod:`mull.execution.purity`)
share a process, over all programs; any other test gets a process that has run nothing before.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import json
import os
import random
import socket
import sys
from typing import Any

from mull.execution import codec, purity
from mull.execution.subject import Head, named
from mull.execution.wire import Channel, Ended


class Program:
    """The program under test as its tests see it: functions that are called elsewhere."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.channel: Channel | None = None
        self.lost = False

    def meet(self, fd: int) -> None:
        """Turn to the program at the other end of ``fd``, away from the last one."""
        self.leave()
        self.channel, self.lost = Channel(socket.socket(fileno=fd), self.limit), False

    def leave(self) -> None:
        """Let go of the program."""
        if self.channel is not None:
            self.channel.close()

    def function(self, name: str) -> Any:
        """A stand-in for the program's function of that name."""

        def call(*args: Any, **kwargs: Any) -> Any:
            return self.call(name, args, kwargs)

        call.__name__ = call.__qualname__ = name
        return call

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The value of one call in the program's own process; raises what the program raised."""
        if self.channel is None or self.lost:
            raise Ended
        packed = codec.pack([list(args), kwargs])
        if codec.opaque(packed):
            raise TypeError(f"an argument of {name}() is not plain data and cannot cross to the program")
        nonce = os.urandom(8).hex()
        frame = json.dumps({"call": name, "with": packed, "nonce": nonce}).encode()
        if len(frame) > self.limit:
            raise ValueError(f"the arguments of {name}() take {len(frame)} bytes; the limit is {self.limit}")
        self.lost = True  # until the answer is in
        self.channel.send(frame)
        try:
            reply = json.loads(self.channel.receive())
            if reply["to"] != nonce:
                raise Ended
            value = None if "error" in reply else codec.unpack(reply["value"])
            builtin, own, text = map(str, reply.get("error", ("",) * 3))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, codec.UnreadableError):
            raise Ended from None
        self.lost = False
        if "error" not in reply:
            return value
        raise _exception(builtin, own, text)


def _exception(builtin: str, own: str, text: str) -> Exception:
    kind = getattr(builtins, builtin, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        with contextlib.suppress(TypeError):
            return kind(text if own == builtin else f"{own}: {text}")
    return RuntimeError(f"{own}: {text}")


class Bench:
    """A suite's tests, compiled when they are first wanted, each run in a namespace of its own."""

    def __init__(self, suite: dict[str, Any], program: Program) -> None:
        self._suite = suite
        self._program = program
        tree = ast.parse(suite["preamble"])
        # A preamble that could leave something behind is taken to: then no test shares a process.
        self._shared = purity.leaves_nothing(tree, frozenset())
        self._known = purity.bound(tree) | frozenset(suite["names"])
        self._preamble = compile(tree, "preamble.py", "exec", dont_inherit=True)
        self._tests: dict[int, tuple[Any, bool]] = {}
        self._namespace()

    def test(self, index: int) -> tuple[Any, bool]:
        """The test's code (or the verdict, if it has none), and whether it leaves nothing behind."""
        if index not in self._tests:
            text = self._suite["tests"][index]
            try:
                tree = ast.parse(text)
                pure = self._shared and purity.leaves_nothing(tree, self._known)
                if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr):
                    expression = ast.Expression(tree.body[0].value)
                    self._tests[index] = compile(expression, "test.py", "eval", dont_inherit=True), pure
                else:
                    self._tests[index] = compile(tree, "test.py", "exec", dont_inherit=True), pure
            except BaseException as error:
                self._tests[index] = _judged(error), True
        return self._tests[index]

    def run(self, index: int) -> dict[str, Any]:
        """The verdict of one test on the program at hand."""
        code, _ = self.test(index)
        if isinstance(code, dict):
            return code
        random.seed(0)
        try:
            value = eval(code, self._namespace())
            verdict = {"status": "pass"}
            if index >= self._suite["probes"]:
                verdict["value"] = codec.canonical(value)
        except BaseException as error:
            verdict = _judged(error)
        if self._program.lost:
            return {"status": "error", "detail": "the program ended its process", "lost": True}
        return verdict

    def _namespace(self) -> dict[str, Any]:
        namespace: dict[str, Any] = {"__name__": "tests"}
        exec(self._preamble, namespace)
        return namespace | {name: self._program.function(name) for name in self._suite["names"]}


def serve(channel: Channel) -> None:
    """Take the tests that come first to the programs that come after, until the channel closes.

    A frame a test: its verdict. Before a test that may leave something behind there is one that
    says so; if this process has run something already that frame says ``renew``, and no more comes.
    """
    suite = json.loads(channel.receive())
    program = Program(channel.limit)
    sys.stdout = sys.stderr = Head(0)
    try:
        bench = Bench(suite, program)
    except BaseException as error:
        channel.send(json.dumps({"error": named(error)}).encode())
        return
    channel.send(b"{}")
    used = False
    while True:
        wanted, fd = channel.receive_with_fd()
        program.meet(fd)
        for index in json.loads(wanted):
            _, pure = bench.test(index)
            if not pure:
                channel.send(json.dumps({"test": index, "alone": True, "renew": used}).encode())
                if used:
                    break
            used = True
            channel.send(json.dumps({"test": index, **bench.run(index)}).encode())
            if program.lost or not pure:
                break
        program.leave()


def _judged(error: BaseException) -> dict[str, Any]:
    _, own, text = named(error)
    status = "fail" if isinstance(error, AssertionError) else "error"
    return {"status": status, "detail": f"{own}: {text}".rstrip(": ")}
