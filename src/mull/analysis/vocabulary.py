"""Whether the small models of a study can spell its problems.

mull's own engine and verifier read what their vocabulary does not have as an unknown word, and what they then
say of it means little. The module reads tokenizers; it runs no model.
"""

from __future__ import annotations

from pathlib import Path

from mull.engines.words import Words, quoted
from mull.errors import MullError
from mull.study.config import checkpoints
from mull.study.folder import Recorded


def unspelt(recorded: Recorded) -> list[str]:
    """A line for every vocabulary that cannot spell some of the problems, with the first such words.

    The small world's own problems are not looked at; models that are not there any more are passed over.
    """
    if recorded.study.problems.source == "tiny":
        return []
    readers: dict[bytes, list[tuple[str, Path]]] = {}
    for role, folder in checkpoints(recorded.study).items():
        if (file := folder / "tokenizer.json").is_file():
            readers.setdefault(file.read_bytes(), []).append((role, folder))
    found = []
    for alike in readers.values():
        try:
            words = Words.load(alike[0][1], ())
        except MullError:  # not one that mull's own engine reads
            continue
        unknown = [missing for p in recorded.problems if (missing := words.unspelt(p.prompt))]
        if unknown:
            listed = list(dict.fromkeys(word for missing in unknown for word in missing))
            found.append(
                f"{len(unknown)} of {len(recorded.problems)} problems hold words that the vocabulary of the "
                f"{' and the '.join(role for role, _ in alike)} cannot spell ({quoted(listed)}): expect "
                "nonsense of these"
            )
    return found
