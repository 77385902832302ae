"""librosa, imported when it is needed first: it takes a second, and numba compiles parts of it into a folder."""

import functools
import os

from ._files import ScratchFolder
from ._interrupts import note_interrupts


@functools.cache
def import_librosa():
    """Return librosa, usable also where neither its own folder nor the home folder is writable.

    Then numba gets a temporary folder. Worker processes inherit it through the environment.
    """
    with note_interrupts(hold=True):
        import numba
        from librosa.version import show_versions

        if not os.environ.get("NUMBA_CACHE_DIR"):
            try:
                numba.njit(cache=True)(show_versions)  # searches for a folder as for any function of librosa
            except RuntimeError:
                folder = ScratchFolder()
                import_librosa.folder = folder  # type: ignore[attr-defined]  # removed at the end of the process
                os.environ["NUMBA_CACHE_DIR"] = folder.path
                numba.config.reload_config()
        import librosa.feature
        import librosa.filters
    return librosa
