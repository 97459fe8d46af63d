"""Plain values as JSON and back, and the one spelling of each.

What crosses between a candidate's process and its tests' process is plain data: None, numbers,
text, bytes, and containers of them. Decoding makes builtin types only and runs no code of the
sender's, so no value can lie about being equal to another. Standard library only; run inside the
sandbox, where nothing of mull is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from contextlib import suppress
from itertools import islice
from typing import Any

#: Items of an iterator that are looked at; a longer one crosses as an opaque value.
_ITEMS = 100_000
#: Longer spellings are cut, and end in a hash of the whole.
_SPELLED = 200
#: By name, and loaded late: what the sandbox has loaded is copied for every program.
_BASES: tuple[Any, ...] = (int, str, float, list, tuple, dict, set, frozenset, bytes, bytearray, complex)
_EXACT = {("fractions", "Fraction"): "f", ("decimal", "Decimal"): "m"}
_VIEWS = ((KeysView, "k"), (ItemsView, "e"), (ValuesView, "n"))


class Opaque:
    """A value that is not plain data: equal to nothing but itself, and knows its type's name."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"<{self.kind}>"


class UnreadableError(Exception):
    """What was sent stands for no value."""


def unpack(code: Any) -> Any:
    """The value that :func:`pack` made ``code`` of; :class:`UnreadableError` if none can have been."""
    try:
        return _unpack(code)
    except (ValueError, TypeError, KeyError, ArithmeticError, AttributeError, RecursionError) as error:
        raise UnreadableError(str(error)) from None


def opaque(code: Any) -> bool:
    """Whether anything in packed ``code`` is an opaque value."""
    if isinstance(code, dict):
        return "o" in code or any(map(opaque, code.values()))
    return isinstance(code, list) and any(map(opaque, code))


def pack(value: Any) -> Any:
    """The value as what JSON can write; what is not plain data becomes an opaque value.

    Subclasses of builtin types become the builtin type: a named tuple is sent as a tuple.
    """
    kind = type(value)
    if value is None or kind is bool or kind is str or kind is float:
        return value
    if kind is int:
        return value if -(2**62) < value < 2**62 else {"i": hex(value)}
    if kind is list:
        return [pack(item) for item in value]
    if kind is tuple:
        return {"t": [pack(item) for item in value]}
    if kind is dict:
        return {"d": [[pack(k), pack(v)] for k, v in value.items()]}
    if kind is set or kind is frozenset:
        return {"s" if kind is set else "z": [pack(item) for item in value]}
    if kind is bytes or kind is bytearray:
        return {"b" if kind is bytes else "a": value.hex()}
    if kind is complex:
        return {"c": [value.real, value.imag]}
    if kind is range:
        return {"r": [pack(value.start), pack(value.stop), pack(value.step)]}
    if (kind.__module__, kind.__name__) in _EXACT:
        return {_EXACT[kind.__module__, kind.__name__]: str(value)}
    for base in _BASES:
        if isinstance(value, base):
            return pack(str.__str__(value) if base is str else base(value))
    for view, tag in _VIEWS:
        if isinstance(value, view):
            return {tag: [pack(item) for item in value]}
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # a numpy scalar
        return pack(value.item())
    if (numbers := sys.modules.get("numbers")) and isinstance(value, numbers.Real):
        return pack(int(value) if isinstance(value, numbers.Integral) else float(value))
    if isinstance(value, Iterator):
        with suppress(Exception):  # one that fails half-way is not its sender's answer yet
            items = list(islice(value, _ITEMS + 1))
            if len(items) <= _ITEMS:
                return {"n": [pack(item) for item in items]}
    return {"o": kind.__name__}


def _unpack(code: Any) -> Any:
    if isinstance(code, list):
        return [_unpack(item) for item in code]
    if not isinstance(code, dict):
        return code
    ((tag, body),) = code.items()
    if tag == "d":
        return {_unpack(k): _unpack(v) for k, v in body}
    if tag == "i":
        return int(body, 16)
    if tag in ("b", "a"):
        return bytes.fromhex(body) if tag == "b" else bytearray.fromhex(body)
    if tag == "c":
        return complex(*map(float, body))
    if tag == "r":
        return range(*map(_unpack, body))
    if tag in ("f", "m"):
        from decimal import Decimal
        from fractions import Fraction

        return Fraction(body) if tag == "f" else Decimal(body)
    if tag == "o":
        return Opaque(str(body)[:100])
    items = [_unpack(item) for item in body]
    return _MAKERS[tag](items)


_MAKERS: dict[str, Callable[[list[Any]], Any]] = {
    "t": tuple,
    "s": set,
    "z": frozenset,
    "n": iter,
    "k": lambda items: dict.fromkeys(items).keys(),
    "e": lambda items: dict(items).items(),
}


def canonical(value: object) -> str:
    """One spelling for all values that compare equal: ``1``, ``1.0`` and ``True`` are all ``1``.

    Sets and dictionaries are spelled in sorted order. A long spelling is cut and ends in a hash of
    the whole, so that it still names the value.
    """
    text = _spell(value)
    if len(text) <= _SPELLED:
        return text
    from hashlib import blake2b

    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{text[: _SPELLED - 20]}...{digest}"


def _spell(value: Any) -> str:
    if hasattr(value, "as_integer_ratio"):
        return _number(value)
    if isinstance(value, complex):
        return _number(value.real) if value.imag == 0 else f"complex({value.real!r}, {value.imag!r})"
    if isinstance(value, list | tuple):
        inner = ", ".join(map(_spell, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(map(_spell, value))) + "}" if value else "set()"
    if isinstance(value, dict):
        return "{" + ", ".join(sorted(f"{_spell(k)}: {_spell(v)}" for k, v in value.items())) + "}"
    if isinstance(value, bytes | bytearray):
        return repr(bytes(value))
    if isinstance(value, range):
        return f"range{(len(value), *value[:1], *value[1:2])}"
    if isinstance(value, Iterator):
        return f"iterator[{', '.join(map(_spell, value))}]"
    return repr(value)


def _number(value: Any) -> str:
    if value != value:
        return "nan"
    if value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    if value == (whole := int(value)):
        return str(whole) if abs(whole) < 10**18 else hex(whole)
    as_float = float(value)
    return repr(as_float) if as_float == value else repr(value)
