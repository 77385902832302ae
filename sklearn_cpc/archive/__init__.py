"""Archives: cut long recordings into windows, label and embed these, and search for more of the same."""

from .windows import cut_windows

__all__ = ["cut_windows"]
