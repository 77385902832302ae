"""How networks are trained and applied: clips and batches, the training loop, devices, embedding."""

from .. import _openmp  # isort: skip  # noqa: F401  # before anything imports torch
