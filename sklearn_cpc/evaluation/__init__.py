"""Evaluation: how good features are, and which part overfits. Takes arrays or recordings, returns tables."""

from .comparison import compare_representations, compare_scores
from .few_labels import label_efficiency
from .overfitting import overfitting_gaps
from .training_curves import record_training

__all__ = ["compare_representations", "compare_scores", "label_efficiency", "overfitting_gaps", "record_training"]
