"""Persistence: fitted estimators and checkpoints in files of numbers and text, without pickle."""

from .models import SaveMixin, load, save

__all__ = ["SaveMixin", "load", "save"]
