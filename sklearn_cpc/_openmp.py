"""OpenMP's threads, on which torch computes: how long they spin while they wait for each other.

By default they spin for long at every barrier. Beside other programs that is 10 to 30 times slower, as the threads
that are waited for get no processor. OpenMP reads its settings once, when torch is first imported.
"""

import os
import sys

SPINS = "1000"  # until a waiting thread sleeps; a quiet machine is as fast with it
SETTINGS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")  # of GNU's library, the standard, and LLVM's

if "torch" not in sys.modules and not any(name in os.environ for name in SETTINGS):
    os.environ["GOMP_SPINCOUNT"] = SPINS
    try:
        import torch  # noqa: F401
    finally:
        del os.environ["GOMP_SPINCOUNT"]  # other programs that this one starts have their own settings
