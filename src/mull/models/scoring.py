"""How a verifier is named: "tiny", a folder, or a table that says how the model is asked.

    prm = "tiny"
    prm = { adapter = "qwen2.5-math-prm", path = "Qwen/Qwen2.5-Math-PRM-7B" }

A table is checked and written back as it was read; what its settings mean is the adapter's. The
module loads no verifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mull.errors import MullError
from mull.models.spec import Place, check_url, is_url, placed

#: The fields of a table that may be paths.
_PLACES = frozenset({"path", "tokenizer", "calibration"})


@dataclass(frozen=True)
class VerifierSpec:
    """A verifier named by a table: its ``adapter``, where it is (``url`` or ``path``), and its settings.

    The tables of the verifiers that one is made of are under "of". What the settings mean is the
    adapter's; ``price_in`` (dollars a million tokens read) is mull's.
    """

    settings: tuple[tuple[str, Any], ...]

    def __post_init__(self) -> None:
        table = dict(self.settings)
        if "url" in table:
            check_url(str(table["url"]))
        if not isinstance(table.get("adapter"), str):
            raise MullError(
                "a verifier's table needs 'adapter', which says how the model is asked; a name or a folder "
                "alone is a checkpoint of the built-in kind"
            )
        from mull.verifiers.prm.build import builder

        builder(table["adapter"])
        if "record" in table and "replay" in table:
            raise MullError("'record' asks what is not recorded, 'replay' never asks; give one of them")
        price = table.get("price_in")
        if price is not None and (not isinstance(price, int | float) or not price >= 0):
            raise MullError(f"price_in is {price!r}; it must be dollars a million tokens, at least 0")

    @property
    def table(self) -> dict[str, Any]:
        """The settings, as TOML has them."""
        return {k: [each.table for each in v] if isinstance(v, tuple) else v for k, v in self.settings}

    @property
    def price(self) -> float | None:
        """Dollars a million tokens read, if the table says."""
        found: Any = self.table.get("price_in")
        return None if found is None else float(found)

    @property
    def label(self) -> str:
        """Adapter and model, without address or folder."""
        table = self.table
        return f"{table['adapter']} {table.get('model') or Path(str(table.get('path', ''))).name}".strip()


def verifier_spec(value: object, what: str, place: Place = str) -> str | VerifierSpec:
    """A verifier from TOML: "tiny", a folder, or a table."""
    if isinstance(value, str):
        if is_url(value):
            raise MullError(
                f"{what} is an address; a verifier behind one needs a table with 'url' and 'adapter'"
            )
        return place(value)
    if not isinstance(value, Mapping):
        raise MullError(f'{what} is {value!r}; it must be "tiny", a folder, or a table')
    settings: list[tuple[str, Any]] = []
    for name, each in value.items():
        if name == "of" and isinstance(each, list):
            inner = [verifier_spec(one, f"{what}.of", place) for one in each]
            if not all(isinstance(one, VerifierSpec) for one in inner):
                raise MullError(f"{what}.of is {each!r}; it must be a list of tables")
            settings.append((name, tuple(one for one in inner if isinstance(one, VerifierSpec))))
        elif isinstance(each, int | float | str | bool):
            if name in ("record", "replay"):
                each = place(str(each))
            settings.append((name, placed(each, place) if name in _PLACES else each))
        else:
            raise MullError(f"{what}.{name} is {each!r}; it must be a text, a number, true or false")
    try:
        return VerifierSpec(tuple(settings))
    except MullError as error:
        raise MullError(f"{what}: {error}") from None
