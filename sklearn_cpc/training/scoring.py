"""A contrastive score whose task is the same whatever the network was trained with."""

import functools
import itertools

import numpy as np
import torch
from torch.nn.functional import normalize, pad

from ..nn.network import Forecast
from ..nn.objective import rounding_bound

N_WITHIN, N_ACROSS = 15, 16
GROUP_BYTES = 1 << 28  # of forecasts in memory, which serve as negatives of each other


def contrastive_accuracy(forecasts, similarity):
    """Share of predictions whose true future scores above 31 fixed negatives; chance is 1/32.

    15 negatives are other windows of the same clip and 16 are windows of other clips, drawn with a
    fixed seed. (If there is only one clip, all are windows of it.) If there are fewer windows, some
    are drawn again, and chance is higher. A tie does not count as a win. In a large corpus, negatives come
    from a group of a hundred clips or more, rather than from all. NaN if there are no predictions.
    """
    judge = functools.partial(_judge, similarity=similarity, random=np.random.RandomState(0))
    # A variable for the group would keep it in memory while the next one is gathered.
    hits = list(itertools.chain.from_iterable(map(judge, _group(forecasts, GROUP_BYTES))))
    return torch.cat(hits).double().mean().item() if hits else float("nan")


def _group(forecasts, n_bytes):
    """Yield lists of forecasts of this size or a little more, the last one of up to twice that."""
    # A small group at the end would be an easier task, with fewer clips to draw from.
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


def _judge(forecasts, similarity, random):
    """Yield whether predictions score above their negatives, for some thousand at a time."""
    n_steps = max(f.z.shape[1] for f in forecasts)
    z = torch.cat([pad(f.z, (0, 0, 0, n_steps - f.z.shape[1])) for f in forecasts])  # (clips, steps, z_dim)
    n_valid = torch.cat([f.n_valid for f in forecasts])
    if similarity == "cosine":
        z = normalize(z, dim=-1)
    rows, first = [], 0
    for forecast in forecasts:
        future = torch.arange(1, forecast.predictions.shape[2] + 1, device=forecast.z.device)
        target = forecast.positions[..., None] + future  # (clips, positions, future)
        has_sound = target < forecast.n_valid[:, None, None]
        clip = torch.nonzero(has_sound, as_tuple=True)[0] + first
        rows.append((clip, target[has_sound], forecast.predictions[has_sound]))
        first += len(forecast.z)
    clip, target, predictions = map(torch.cat, zip(*rows, strict=True))  # (n,), (n,), (n, z_dim)

    for first in range(0, len(clip), 4096):  # bounds the memory
        part = slice(first, first + 4096)
        futures = clip[part].cpu().numpy(), target[part].cpu().numpy(), n_valid.cpu().numpy()
        rivals, true = z[draw_negatives(*futures, random)], z[clip[part], target[part]]
        positive = (predictions[part] * true).sum(-1)
        positive = positive - rounding_bound(predictions[part].norm(dim=-1), true.norm(dim=-1))
        negatives = torch.einsum("nd,nmd->nm", predictions[part], rivals)
        yield positive > negatives.amax(1)


def draw_negatives(clip, target, n_valid, random):
    """Draw the negatives of n positives, given by ``clip`` and ``target`` step (n,): their clips and steps.

    Both results have the shape (n, N_WITHIN + N_ACROSS). The clip of a positive has at least two valid steps.
    """
    # Number the windows through all clips. The windows of a clip form a circle, and so do those of all others.
    # Counting starts after the positive, or after its clip, so that no negative is the positive.
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
    """Spread n points over (n_rows, 1) places in a circle, from a random start: different ones if there are n."""
    start = np.floor(random.uniform(size=places.shape) * places).astype(int)
    return (start + np.arange(n) * places // n) % places
