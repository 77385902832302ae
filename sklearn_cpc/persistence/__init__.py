"""Persistence: fitted estimators and checkpoints in files of numbers and text, without pickle."""

from .. import _openmp  # isort: skip  # noqa: F401  # before anything imports torch
from .models import SaveMixin, load, save

__all__ = ["SaveMixin", "load", "save"]
