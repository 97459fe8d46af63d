"""mull before NumPy, which test modules import first: it chooses NumPy's matrix kernels."""

import mull  # noqa: F401
