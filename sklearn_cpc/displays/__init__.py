"""Displays in scikit-learn's convention: what classifiers, embeddings, recordings and training look like."""

from .confusion import ConfusionDisplay
from .loss_curve import LossCurveDisplay
from .training import record_training

__all__ = ["ConfusionDisplay", "LossCurveDisplay", "record_training"]
