"""Reading a verifier's table: typed fields, one by one, and words for what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping

from mull.errors import MullError

_MISSING = object()


class Table:
    """A table whose fields are taken once each; what is left at the end is unknown."""

    def __init__(self, fields: dict[str, object], what: str = "verifier") -> None:
        self.fields, self.what = fields, what
        self.taken: set[str] = set()

    def has(self, name: str) -> bool:
        """Whether a field is there."""
        return name in self.fields

    def text(self, name: str, default: object = _MISSING) -> str:
        """A text field; :class:`MullError` if it is missing without a default, or no text."""
        found = self._get(name, default)
        if not isinstance(found, str) or (not found and default is _MISSING):
            raise MullError(f"{self.what}: {name!r} must be a text, not {found!r}")
        return found

    def maybe(self, name: str) -> str | None:
        """A text field, None if it is not there."""
        return self.text(name) if self.has(name) else None

    def whole(self, name: str, default: int, least: int = 0) -> int:
        """A whole number of at least ``least``."""
        found = self._get(name, default)
        if not isinstance(found, int) or isinstance(found, bool) or found < least:
            raise MullError(
                f"{self.what}: {name!r} must be a whole number of at least {least}, not {found!r}"
            )
        return found

    def flag(self, name: str) -> bool:
        """True or false; false if it is not there."""
        found = self._get(name, False)
        if not isinstance(found, bool):
            raise MullError(f"{self.what}: {name!r} must be true or false, not {found!r}")
        return found

    def number(self, name: str, default: float, *, zero: bool = False) -> float:
        """A positive number, or with ``zero`` one that may be 0."""
        found = self._get(name, default)
        good = isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found < float("inf")
        if not isinstance(found, int | float) or not good or (found == 0 and not zero):
            raise MullError(f"{self.what}: {name!r} must be a positive number, not {found!r}")
        return float(found)

    def tables(self, name: str) -> list[dict[str, object]]:
        """A list of tables, not empty."""
        found = self._get(name, _MISSING)
        if not isinstance(found, list | tuple) or not found or not all(isinstance(t, Mapping) for t in found):
            raise MullError(f"{self.what}: {name!r} must be a list of verifiers' tables")
        return [dict(each) for each in found]

    def done(self) -> None:
        """:class:`MullError` if a field is left that nobody took."""
        if left := sorted(set(self.fields) - self.taken):
            known = ", ".join(sorted(self.taken))
            raise MullError(f"{self.what}: unknown field {left[0]!r}; the fields here are {known}")

    def _get(self, name: str, default: object) -> object:
        self.taken.add(name)
        found = self.fields.get(name, default)
        if found is _MISSING:
            raise MullError(f"{self.what}: {name!r} is missing")
        return found
