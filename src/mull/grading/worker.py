"""A worker process of the grader: one judgement a line from standard input, by math-verify.

The system ends it when a judgement uses up its time or memory: nothing in here has to cooperate,
and nothing in here outlives it. It reads no file of the user's and opens no connection.

A request is a JSON list, its reply another: the verdict and the processor time it took. Before
the reply, a line names each stage a judgement enters ("a" and "b": reading a side, "c":
comparing), so that whoever waits knows what was to blame.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from typing import Any
from zlib import crc32

READY = "ready"
STAGES = ("a", "b", "c")

#: Numbers further apart than this share are different, whatever simplification would say.
APART = 1e-6

#: An expression of more operations is not evaluated beforehand.
MOST_OPERATIONS = 200

#: What is not evaluated beforehand either: it may take long, or stand for a percent sign.
SLOW = ("Derivative", "Integral", "Limit", "Product", "Sum", "UnevaluatedExpr")

#: An expression's values at two points, as mpmath's numbers, which don't overflow.
Values = tuple[Any, ...]

#: What a request may set: what to look for, whether the texts are bare answers to be put between
#: dollars, decimal places, whether names of variables count, whether sets and relations compare
#: in both directions, and the relative tolerance.
DEFAULTS: dict[str, Any] = {
    "notations": ["latex"],
    "wrap": True,
    "rounding": 6,
    "strict": True,
    "both_ways": False,
    "relative": 0.0,
}


def main(memory_mb: int) -> None:
    """Answer requests until standard input ends."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # what the libraries print must not be taken for a reply
        os.dup2(null, stream)
    logging.disable(logging.CRITICAL)
    for name in ("SIGINT", "SIGPROF"):  # an interrupt is the caller's affair; the clock is not to be ignored
        with suppress(AttributeError, ValueError):
            signal.signal(getattr(signal, name), signal.SIG_IGN if name == "SIGINT" else signal.SIG_DFL)
    _limit_memory(memory_mb)
    with suppress(Exception):
        _judge(["1", "2"], DEFAULTS, lambda stage: None)  # imports and parser tables, before any clock runs
    _say(replies, READY)
    for line in requests:
        pair, settings, seconds = json.loads(line)
        start = time.process_time()
        _clock(seconds)
        try:
            found = _judge(pair, DEFAULTS | settings, lambda stage: _say(replies, stage))
        except MemoryError:
            os._exit(1)  # what is left of the heap is not to be trusted
        except Exception:
            found = False
        _clock(0)
        _say(replies, json.dumps([found, time.process_time() - start]))


def _judge(pair: list[str], settings: dict[str, Any], enter: Callable[[str], None]) -> bool:
    """Whether the two texts are equal under math-verify, the first being gold.

    Of one text alone, whether a comparison with it could come to an end.
    """
    read, values = [], []
    for stage, text in zip(STAGES, pair, strict=False):
        enter(stage)
        found = _read(text, tuple(settings["notations"]), settings["wrap"])
        read.append(list(found))
        values.append(_values(found[0]) if found and settings["strict"] else None)
    enter(STAGES[2])
    if not all(read):
        return False
    if len(pair) == 1:
        return _survived(read[0][0])
    near = _near(values[0], values[1], settings, any(_decimal(side[0]) for side in read))
    if near is not None:
        return near
    return bool(
        import_module("math_verify").verify(
            *read,
            float_rounding=settings["rounding"],
            strict=settings["strict"],
            allow_set_relation_comp=settings["both_ways"],
            timeout_seconds=None,
        )
    )


@lru_cache(maxsize=512)
def _read(text: str, notations: tuple[str, ...], wrap: bool) -> tuple[Any, ...]:
    """What math-verify finds in a text; ``wrap`` for a bare answer, which is put between dollars."""
    library = import_module("math_verify")
    kinds = {
        "latex": library.LatexExtractionConfig(boxed_match_priority=0),
        "plain": library.ExprExtractionConfig(),
    }
    text = f"${text}$" if wrap else text
    return tuple(library.parse(text, [kinds[name] for name in notations], parsing_timeout=None))


def _survived(found: Any) -> bool:
    """Do with one side what a comparison may do with it; true if that comes to an end."""
    sympy = import_module("sympy")
    if isinstance(found, sympy.Basic):
        sympy.simplify(found.doit())
    return True


def _near(left: Values | None, right: Values | None, settings: dict[str, Any], decimal: bool) -> bool | None:
    """False for values too far apart for any tolerance, True for decimals within ``relative``; else None."""
    if left is None or right is None:
        return None
    share, rounding = settings["relative"], 2 * 10.0 ** -settings["rounding"]
    gaps = [(abs(x - y), max(abs(x), abs(y))) for x, y in zip(left, right, strict=True)]
    if any(gap > max(APART, 2 * share) * size + rounding for gap, size in gaps):
        return False
    return True if decimal and all(gap <= share * size for gap, size in gaps) else None


def _decimal(found: Any) -> bool:
    """Whether a decimal number is part of an expression."""
    sympy = import_module("sympy")
    return isinstance(found, sympy.Expr) and bool(found.has(sympy.Float))


def _values(found: Any) -> Values | None:
    """An expression's values at two points, the same for a name in any; None if they can't be had cheaply.

    Different values prove expressions different long before simplification gives up.
    """
    sympy = import_module("sympy")
    value = isinstance(found, sympy.Expr) and not isinstance(found, sympy.Symbol)
    return _evaluated(found) if value else None


@lru_cache(maxsize=2048)
def _evaluated(found: Any) -> Values | None:
    mpmath, sympy = import_module("mpmath"), import_module("sympy")
    slow = [getattr(sympy, name) for name in SLOW]
    try:
        if found.has(*slow, sympy.core.function.AppliedUndef) or found.count_ops() > MOST_OPERATIONS:
            return None
        values = []
        for start in (0.37, 1.71):
            at = {s: sympy.Float(start + crc32(s.name.encode()) % 997 / 700) for s in found.free_symbols}
            value = mpmath.mpmathify(found.subs(at).evalf(15))
            if not mpmath.isfinite(value):
                return None
            values.append(value)
    except Exception:  # sympy raises what it likes
        return None
    return tuple(values)


def _say(descriptor: int, word: str) -> None:
    os.write(descriptor, f"{word}\n".encode())


def _clock(seconds: float) -> None:
    """Start, or with 0 stop, the time after which the system ends this process (CPU time)."""
    with suppress(AttributeError):  # not on Windows, where the caller's clock has to do
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _limit_memory(megabytes: int) -> None:
    """Cap this process's address space, and let it write no core file."""
    with suppress(ImportError, ValueError, OSError):  # where the system has no such limits
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
