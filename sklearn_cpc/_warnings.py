"""Warnings that point to the user's line."""

import sys
import warnings

INSIDE = ("sklearn_cpc", "sklearn", "skorch", "contextlib", "torch")  # packages that users call, or that call us


def warn(message):
    """Warn about the line that called into this package, however deep the call is now."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
