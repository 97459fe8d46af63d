"""The small world's tokenizer for checkpoints built in tests, without the tokenizers library."""

import json
import shutil
from pathlib import Path

from mull.tiny.load import checkpoint

FILE = checkpoint("proposer") / "tokenizer.json"
#: Every piece's id.
IDS: dict[str, int] = {p: i for i, (p, _) in enumerate(json.loads(FILE.read_text())["model"]["vocab"])}


def save(folder: Path) -> None:
    """Put the tokenizer into a checkpoint's folder."""
    shutil.copyfile(FILE, folder / "tokenizer.json")
