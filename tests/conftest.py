"""mull before NumPy, which test modules import first: it chooses NumPy's matrix kernels."""

import mull  # noqa: F401, I001
from hypothesis import settings

settings.register_profile("mull", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("mull")
