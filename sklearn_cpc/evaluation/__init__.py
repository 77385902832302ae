"""Evaluation: how good features are, and what over-fits; arrays or recordings in, tables out."""

from ._comparison import compare_representations, compare_scores
from ._overfitting import overfitting_gaps

__all__ = ["compare_representations", "compare_scores", "overfitting_gaps"]
