"""Displays in scikit-learn's convention: classifiers, embeddings, few labels, recordings and training."""

from .confusion import ConfusionDisplay
from .embedding import EmbeddingDisplay
from .label_efficiency import LabelEfficiencyDisplay
from .loss_curve import LossCurveDisplay
from .recording import RecordingDisplay

__all__ = [
    "ConfusionDisplay",
    "EmbeddingDisplay",
    "LabelEfficiencyDisplay",
    "LossCurveDisplay",
    "RecordingDisplay",
]
