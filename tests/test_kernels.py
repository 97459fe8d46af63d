"""Matrix kernels: asked for where the processor needs it, and never against a choice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mull.kernels import ALIKE, VARIABLE, choose


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("processor : 0\nflags\t\t: fpu avx avx2 fma\n", ALIKE),
        ("flags : fpu avx avx2 avx512f\n", None),
        ("flags : fpu sse2\n", None),
        ("Features : fp asimd\n", None),
        ("", None),
    ],
)
def test_kernels_by_processor(tmp_path: Path, text: str, wanted: str | None) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert choose(tmp_path / "cpuinfo") == wanted


def test_a_processor_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    assert choose(tmp_path / "absent") is None
    (tmp_path / "cpuinfo").write_bytes(b"flags: \xff")
    assert choose(tmp_path / "cpuinfo") is None


def python(code: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name != VARIABLE}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, env={**kept, **environment}, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_rows_are_alike_when_mull_comes_first() -> None:
    assert python("import mull, mull.engines.llama as l; print(l.rows_alike())") == "True"


def test_a_choice_is_kept() -> None:
    shown = f"import os, mull; print(os.environ['{VARIABLE}'])"
    assert python(shown, **{VARIABLE: "Nehalem"}) == "Nehalem"


def test_numpy_first_is_told_of_only_where_it_matters() -> None:
    code = (
        "import numpy, warnings\n"
        "warnings.simplefilter('error')\n"
        "from mull import SmallEngine, checkpoint\n"
        "from mull.engines.llama import rows_alike\n"
        "try:\n    SmallEngine.load(checkpoint('proposer')); told = False\n"
        "except UserWarning as warning:\n    told = 'import mull before NumPy' in str(warning)\n"
        "print(told != rows_alike())"
    )
    assert python(code) == "True"
