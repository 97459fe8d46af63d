"""The matrix kernels that mull's arithmetic asks for: those that treat all rows of a batch alike.

OpenBLAS, which NumPy multiplies with, picks its kernels by processor when it is loaded. Its
kernels for AVX2 (Haswell, Zen) round a row by where in the batch it stands, so that a sample
would depend, in its last bits and now and then in a token, on what is computed beside it.
Those for AVX (Sandy Bridge) and AVX-512 do not. The module says which to use, in the
environment and before NumPy is loaded; it never multiplies, and overrules nobody who has chosen.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "OPENBLAS_CORETYPE"
#: Kernels for AVX without fused multiply-add.
ALIKE = "Sandybridge"


def choose(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """The kernels to ask OpenBLAS for on this processor; None if its own choice will do or is unknown."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), set())
    return ALIKE if "avx2" in flags and "avx512f" not in flags else None


def settle() -> None:
    """Ask for them, in this process and those it starts, unless NumPy is there or somebody has chosen."""
    if "numpy" in sys.modules or VARIABLE in os.environ:
        return
    if (wanted := choose()) is not None:
        os.environ[VARIABLE] = wanted
