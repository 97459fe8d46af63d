"""Run the README's own commands, so that they cannot drift.

``readme.py test`` prints the test command; ``readme.py run FOLDER`` clones the project
into the empty FOLDER and runs every other ``sh`` block there, as printed, and every
``python`` block with the environment that the first command made.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def main() -> int:
    """Do what the arguments say."""
    is_test = [kind == "sh" and "pytest" in text for kind, text in BLOCKS]
    if sys.argv[1] == "test":
        print(BLOCKS[is_test.index(True)][1].strip())
        return 0
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True)
    subprocess.run(["git", "clone", "-q", str(ROOT), "mull"], cwd=folder, check=True)
    for (kind, text), skip in zip(BLOCKS, is_test, strict=True):
        if skip:
            continue
        print(f"--- {kind}\n{text}---", flush=True)
        command = ["bash", "-euo", "pipefail", "-c", text]
        if kind == "python":
            command = [".venv/bin/python", "-c", text]
        subprocess.run(command, cwd=folder / "mull", check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
