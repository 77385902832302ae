"""Archives: cut long recordings into windows, label and embed these, and search for more of the same."""

from .annotations import read_annotations, write_annotations
from .labels import label_windows
from .windows import cut_windows

__all__ = ["cut_windows", "label_windows", "read_annotations", "write_annotations"]
