"""Displays in scikit-learn's convention: what classifiers, embeddings, recordings and training look like."""

from .confusion import ConfusionDisplay

__all__ = ["ConfusionDisplay"]
