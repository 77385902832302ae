"""Ctrl-C: note it while work runs, or let it wait until the work is done."""

import contextlib
import signal
import threading


@contextlib.contextmanager
def note_interrupts(*, hold=False):
    """Yield a list that gets an entry for every Ctrl-C while the block runs.

    The handler that was there is called as before; with ``hold`` only at the end of the block, for blocks that
    import: a library that is imported in part stays broken. Signals reach the main thread alone, so in other
    threads the list stays empty, as it does where Ctrl-C is ignored.
    """
    noted: list[int] = []
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield noted
        return

    def note(signum, frame):
        noted.append(signum)
        if not hold:
            handler(signum, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, handler)
        if hold and noted:
            handler(signal.SIGINT, None)
