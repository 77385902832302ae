"""A contrastive score whose task is the same whatever the network was trained with."""

import functools
import itertools

import numpy as np
import torch
from torch.nn.functional import normalize, pad

from ..nn.network import Forecast
from ..nn.objective import rounding

N_WITHIN, N_ACROSS = 15, 16
GROUP = 1 << 28  # bytes of forecasts that are negatives of each other and in memory together


def contrastive_accuracy(forecasts, similarity):
    """Share of predictions whose true future scores above 31 fixed negatives; chance is 1/32.

    15 negatives are other windows of the same clip and 16 are windows of other clips, drawn with a
    fixed seed. (If there is one clip only, all are windows of it.) Where there are fewer windows some
    are drawn again, and chance is higher. A tie is no win. In a large corpus negatives come from
    some hundred other clips or more, by the size of the forecasts, rather than from all.

    Parameters
    ----------
    forecasts : iterable of Forecast
        One per batch; together all clips.
    similarity : {"dot", "cosine"}
        How predictions and embeddings are compared.

    Returns
    -------
    float
        Mean over all predictions; NaN if there are none.
    """
    judge = functools.partial(_hits, similarity=similarity, random=np.random.RandomState(0))
    # No variable for the group, or it would live on while the next is gathered.
    hits = list(itertools.chain.from_iterable(map(judge, groups(forecasts, GROUP))))
    return torch.cat(hits).double().mean().item() if hits else float("nan")


def groups(forecasts, n_bytes):
    """Yield lists of forecasts that have this size or a little more, the last up to twice that."""
    # A small one at the end would be another task, with fewer clips to draw from.
    full: list[Forecast] = []
    filling: list[Forecast] = []
    for forecast in forecasts:
        filling.append(forecast)
        if sum(f.z.nbytes + f.predictions.nbytes for f in filling) >= n_bytes:
            if full:
                yield full
            full, filling = filling, []
    if full or filling:
        yield full + filling


def _hits(forecasts, similarity, random):
    """Yield, for some thousand predictions at a time, whether they score above their negatives."""
    n_steps = max(f.z.shape[1] for f in forecasts)
    z = torch.cat([pad(f.z, (0, 0, 0, n_steps - f.z.shape[1])) for f in forecasts])  # (clips, steps, z_dim)
    n_valid = torch.cat([f.n_valid for f in forecasts])
    if similarity == "cosine":
        z = normalize(z, dim=-1)
    rows, first = [], 0
    for forecast in forecasts:
        clip, target, predictions = _predictions_that_count(forecast)
        rows.append((clip + first, target, predictions))
        first += len(forecast.z)
    clip, target, predictions = map(torch.cat, zip(*rows, strict=True))  # (n,), (n,), (n, z_dim)

    for first in range(0, len(clip), 4096):  # bounds the memory
        part = slice(first, first + 4096)
        futures = clip[part].cpu().numpy(), target[part].cpu().numpy(), n_valid.cpu().numpy()
        rivals, true = z[draw_negatives(*futures, random)], z[clip[part], target[part]]
        positive = (predictions[part] * true).sum(-1)
        positive = positive - rounding(predictions[part].norm(dim=-1), true.norm(dim=-1))
        negatives = torch.einsum("nd,nmd->nm", predictions[part], rivals)
        yield positive > negatives.amax(1)


def _predictions_that_count(forecast):
    """Predictions whose target holds sound, (n, z_dim), with its clip and step, both (n,)."""
    future = torch.arange(1, forecast.predictions.shape[2] + 1, device=forecast.z.device)
    target = forecast.positions[..., None] + future  # (clips, positions, future)
    clip, position, k = torch.nonzero(target < forecast.n_valid[:, None, None], as_tuple=True)
    return clip, target[clip, position, k], forecast.predictions[clip, position, k]


def draw_negatives(clip, target, n_valid, random):
    """Draw the negatives of n predictions.

    Parameters
    ----------
    clip, target : int ndarray of shape (n,)
        Clip and step of each positive; its clip has at least two valid steps.
    n_valid : int ndarray of shape (n_clips,)
        Valid steps of each clip.
    random : RandomState

    Returns
    -------
    clips, steps : int ndarray of shape (n, N_WITHIN + N_ACROSS)
    """
    # Windows are numbered through all clips. Those of a clip, and those of all others, form a circle each;
    # counted from the positive and from its clip on, none meets the positive again.
    n_total = n_valid.sum()
    length, start = n_valid[clip][:, None], (np.cumsum(n_valid) - n_valid)[clip][:, None]
    n_within = N_WITHIN if len(n_valid) > 1 else N_WITHIN + N_ACROSS
    windows = start + (target[:, None] + 1 + _spread(n_within, length - 1, random)) % length
    if len(n_valid) > 1:
        across = (start + length + _spread(N_ACROSS, n_total - length, random)) % n_total
        windows = np.concatenate([windows, across], axis=1)
    clips = np.repeat(np.arange(len(n_valid)), n_valid)
    steps = np.concatenate([np.arange(n) for n in n_valid])
    return clips[windows], steps[windows]


def _spread(n, places, random):
    """Spread n over (n_rows, 1) places in a circle, from a random start: all different where there are enough."""
    start = np.floor(random.uniform(size=places.shape) * places).astype(int)
    return (start + np.arange(n) * places // n) % places
