"""Displays in scikit-learn's convention: what classifiers, embeddings, recordings and training look like."""

from .confusion import ConfusionDisplay
from .embedding import EmbeddingDisplay
from .loss_curve import LossCurveDisplay
from .recording import RecordingDisplay
from .training import record_training

__all__ = ["ConfusionDisplay", "EmbeddingDisplay", "LossCurveDisplay", "RecordingDisplay", "record_training"]
