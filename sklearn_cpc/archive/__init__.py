"""Archives: cut long recordings into windows, label and embed these, and search for more of the same."""

from .annotations import read_annotations, write_annotations
from .embedding import embed_archive, read_archive
from .index import EmbeddingIndex
from .windows import cut_windows, label_windows

__all__ = [
    "EmbeddingIndex",
    "cut_windows",
    "embed_archive",
    "label_windows",
    "read_annotations",
    "read_archive",
    "write_annotations",
]
