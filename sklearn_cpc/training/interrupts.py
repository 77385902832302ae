"""Interrupts: tell the user's Ctrl-C from a callback that ends a training."""

import contextlib
import signal
import threading
import traceback

from skorch.callbacks import Callback


@contextlib.contextmanager
def note_interrupts():
    """Yield a list that gets an entry for every Ctrl-C while the block runs.

    The handler that was there is called as before. Signals reach the main thread alone, so in other threads
    the list stays empty, as it does where Ctrl-C is ignored.
    """
    noted: list[int] = []
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield noted
        return

    def note(signum, frame):
        noted.append(signum)
        handler(signum, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, handler)


def is_raised_by_callback(error):
    """Whether a callback raised the KeyboardInterrupt, as skorch's EarlyStopping does to end a training."""
    owners = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(
        isinstance(owner, Callback) and not type(owner).__module__.startswith("sklearn_cpc.") for owner in owners
    )
