"""Displays in scikit-learn's convention: figures of classifiers, embeddings, recordings and training."""

from .confusion import ConfusionDisplay
from .embedding import EmbeddingDisplay
from .loss_curve import LossCurveDisplay
from .recording import RecordingDisplay

__all__ = ["ConfusionDisplay", "EmbeddingDisplay", "LossCurveDisplay", "RecordingDisplay"]
