"""Networks and losses, in torch alone: front ends, encoders, autoregressors, objective, augmentation, pooling."""

from .. import _openmp  # isort: skip  # noqa: F401  # before anything imports torch
