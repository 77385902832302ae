"""Embedding: recordings through a trained network, clip after clip."""

from typing import NamedTuple

import numpy as np

from ..nn.pooling import Pooler, n_features
from .allocator import keep_freed_memory
from .batches import clips_in_order
from .clip_geometry import ClipShape
from .device import for_inference
from .scoring import contrastive_accuracy


class Frames(NamedTuple):
    """Embeddings over time of one recording, from :meth:`CPCTransformer.transform_frames`.

    Attributes
    ----------
    times : float ndarray of shape (n_steps,)
        Centre of each step in seconds from the beginning of the recording or clip.
    embeddings : float ndarray of shape (n_steps, dim)
        Embedding of each step.
    """

    times: np.ndarray
    embeddings: np.ndarray


def embed_source(network, source, *, trim, pooling, **options):
    """Pool every row of a source of recordings, chunk by chunk; rows that cannot be used become NaN.

    Returns an array of the source's dtype, of shape (n_rows, n_features). Options: see :func:`embed_pooled`.
    """
    embeddings = np.full((source.n_rows, n_features(pooling, network.dims)), np.nan, source.dtype)
    for chunk in source.chunks():
        samples = chunk.trimmed(trim)
        pooled = embed_pooled(network, samples, pooling=pooling, dtype=source.dtype, **options)
        embeddings[chunk.rows[chunk.readable]] = pooled
    return embeddings


@keep_freed_memory()
@for_inference
def embed_pooled(network, samples, *, pooling, n_clips, batch_size, dtype, device):
    """Pool every recording, of shape (n_samples,), into one vector of float64.

    ``n_clips`` are spread evenly over each recording; None: as many as cover it, longer ones if the network
    takes them. ``batch_size`` counts full clips: a batch has more clips if they are shorter, one if it is longer.
    """
    pooler, shape = Pooler(pooling, len(samples), network.dims), ClipShape.for_network(network)
    max_samples = batch_size * shape.n_samples
    shape = shape if n_clips else shape.for_embedding(network, pooler.layers)
    for clips, n_valid, rows, *counts in clips_in_order(samples, shape, n_clips, max_samples, dtype, device):
        pooler.update(rows, network.layers(clips, n_valid, pooler.layers), n_valid, *counts)
    return pooler.result()


@keep_freed_memory()
@for_inference
def embed_frames(network, samples, *, layer, batch_size, dtype, device):
    """Embed one recording over time, every step once; returns :class:`Frames`."""
    shape = ClipShape.for_network(network)
    max_samples, shape = batch_size * shape.n_samples, shape.for_embedding(network, {layer})
    clips_embedded = []
    for clips, n_valid, _, n_shared, _ in clips_in_order([samples], shape, None, max_samples, dtype, device):
        steps = network.layers(clips, n_valid, [layer])[layer].cpu().numpy()
        spans = zip(steps, n_shared.tolist(), n_valid.tolist(), strict=True)
        clips_embedded += [clip[start:stop] for clip, start, stop in spans]
    embeddings = np.concatenate(clips_embedded)
    step = shape.n_samples / shape.n_steps / network.sample_rate  # seconds
    return Frames((np.arange(len(embeddings)) + 0.5) * step, embeddings)


@for_inference
def score_recordings(network, samples, *, similarity, n_clips, batch_size, device):
    """Contrastive accuracy of a network on recordings; see :func:`contrastive_accuracy`."""
    forecasts = make_forecasts(network, samples, n_clips=n_clips, batch_size=batch_size, device=device)
    return contrastive_accuracy(forecasts, similarity)


def make_forecasts(network, samples, *, n_clips, batch_size, device):
    """Yield the network's forecasts of all clips of recordings, one per batch."""
    shape = ClipShape.for_network(network)
    max_samples = batch_size * shape.n_samples
    # Without overlap: a window must not be among its own negatives.
    for clips, n_valid, *_ in clips_in_order(
        samples, shape, n_clips, max_samples, np.float32, device, overlap=False
    ):
        yield network(clips, n_valid)
