"""Schedules: the length of a training, and the course of its learning rate."""

import math

WARM_UP = 0.1  # of all batches
N_UPDATES = 500  # 12 passes over half an hour of sound, in batches of 32 clips of a second
FEWEST_EPOCHS, MOST_EPOCHS = 12, 50  # more passes over very little sound learn it by heart


def choose_epochs(n_batches):
    """Return the epochs in which a training of ``n_batches`` per epoch takes about 500 of them."""
    return min(max(math.ceil(N_UPDATES / n_batches), FEWEST_EPOCHS), MOST_EPOCHS)


def constant(batch, n_batches):
    """Return the share of the learning rate at a batch: all of it."""
    return 1.0


def cosine(batch, n_batches):
    """Return the share of the learning rate: a linear rise over a tenth of all batches, times half a cosine."""
    rise = min(1.0, (batch + 1) / max(1.0, WARM_UP * n_batches))
    return rise * (1 + math.cos(math.pi * min(1.0, batch / n_batches))) / 2


SCHEDULES = {"constant": constant, "cosine": cosine}
