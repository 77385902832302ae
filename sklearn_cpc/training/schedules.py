"""Schedules: the course of the learning rate over a training."""

import math

WARM_UP = 0.1  # of all batches


def constant(batch, n_batches):
    """Return the share of the learning rate at a batch: all of it."""
    return 1.0


def cosine(batch, n_batches):
    """Return the share of the learning rate: a linear rise over a tenth of all batches, times half a cosine."""
    rise = min(1.0, (batch + 1) / max(1.0, WARM_UP * n_batches))
    return rise * (1 + math.cos(math.pi * min(1.0, batch / n_batches))) / 2


SCHEDULES = {"constant": constant, "cosine": cosine}
