"""InfoNCE: tell the true future from other windows. Pure functions of tensors."""

from typing import NamedTuple

import torch
from torch.nn import functional as F

NEGATIVES = ("across", "within", "mixed")
SIMILARITIES = ("dot", "cosine")
STEP_WEIGHTS = ("uniform", "linear")


class InfoNCE(NamedTuple):
    """Result of :func:`info_nce`: the loss, a scalar, and the accuracy of each future step, (n_future,)."""

    loss: torch.Tensor
    accuracy: torch.Tensor


def info_nce(
    predictions,
    z,
    positions,
    n_valid=None,
    *,
    negatives="across",
    n_across=None,
    similarity="dot",
    temperature=None,
    step_weights="uniform",
):
    r"""InfoNCE loss of predicted embeddings against the true future and negatives.

    For the prediction of step k made at position t of a clip, the positive is :math:`z_{t+k}` of that
    clip, and the loss is the cross entropy of picking it among the negatives. A positive is never
    among its own negatives, and windows of padding are neither.

    Parameters
    ----------
    predictions : float Tensor of shape (batch, n_positions, n_future, z_dim)
        What each position predicts for steps 1 to n_future ahead.
    z : float Tensor of shape (batch, n_steps, z_dim)
        Embeddings of all windows, each encoded once.
    positions : int Tensor of shape (batch, n_positions)
        Index of the last window each prediction has heard.
    n_valid : int Tensor of shape (batch,), default=None
        Windows of each clip that hold sound; those after are padding. None: all.
    negatives : {"across", "within", "mixed"}, default="across"
        "across": what the other clips of the batch hold for the same position and step (the report,
        section 2.2.1: a batch of N gives N - 1). "within": all other windows of the same clip. "mixed":
        both.
    n_across : int, default=None
        Negatives of "across" and "mixed" that come from other clips: this many windows, drawn anew from all
        of the batch by torch's generator and shared by all predictions (those of a prediction's own
        clip do not count for it). None: the same position and step in every other clip.
    similarity : {"dot", "cosine"}, default="dot"
        Dot product (section 2.2.5) or its cosine.
    temperature : float, default=None
        Divides the similarity. None: 1 for "dot" (the report), 0.1 for "cosine".
    step_weights : {"uniform", "linear"}, default="uniform"
        Weight of each future step: equal, or falling linearly so that the near future weighs more
        (section 4). They sum to 1.

    Returns
    -------
    InfoNCE
        ``loss`` and ``accuracy``: the share of predictions per step whose positive scores above
        every negative (NaN where a step has no prediction). A prediction with no positive (padding)
        or no negative does not count; with none left the loss is 0.

    Raises
    ------
    ValueError
        If an option is unknown.

    References
    ----------
    A. van den Oord, Y. Li, O. Vinyals, "Representation Learning with Contrastive Predictive Coding",
    arXiv:1807.03748, equation 4.

    Examples
    --------
    With embeddings that are all alike the loss is log N:

    >>> z, predictions = torch.ones(8, 30, 16), torch.ones(8, 1, 3, 16)
    >>> info_nce(predictions, z, torch.full((8, 1), 26)).loss.exp().round()
    tensor(8.)
    """
    check_option("negatives", negatives, NEGATIVES)
    check_option("similarity", similarity, SIMILARITIES)
    check_option("step_weights", step_weights, STEP_WEIGHTS)
    batch, n_steps, _ = z.shape
    n_future = predictions.shape[2]
    if n_valid is None:
        n_valid = torch.full((batch,), n_steps, device=z.device)
    if temperature is None:
        temperature = 0.1 if similarity == "cosine" else 1.0
    length = predictions.norm(dim=-1)  # (batch, pos, future)
    scale = torch.full_like(length, 1 / temperature)
    if similarity == "cosine":
        z = F.normalize(z, dim=-1)
        scale = scale / length.clamp_min(1e-12)  # of the scores: cheaper than normalising the predictions

    target = positions[:, :, None] + torch.arange(1, n_future + 1, device=z.device)  # (batch, pos, future)
    exists = target < n_valid[:, None, None]
    target = target.clamp_max(n_steps - 1)
    clip = torch.arange(batch, device=z.device)

    scores, allowed = [], []
    if negatives != "across":
        within = torch.bmm(predictions.flatten(1, 2), z.transpose(1, 2)).unflatten(1, target.shape[1:])
        positive = within.gather(-1, target[..., None])[..., 0]
        scores.append(within)
        step = torch.arange(n_steps, device=z.device)
        allowed.append((step != target[..., None]) & (step < n_valid[:, None, None, None]))
    else:
        positive = (predictions * z[clip[:, None, None], target]).sum(-1)
    if negatives != "within" and n_across is None:
        scores.append(torch.einsum("btkd,ctkd->btkc", predictions, z[clip[:, None, None], target]))
        other = (clip[:, None] != clip)[:, None, None, :]  # (batch, 1, 1, batch)
        allowed.append(other & exists.permute(1, 2, 0))
    elif negatives != "within":
        clips, steps = draw_windows(n_valid, n_across)
        scores.append(predictions @ z[clips, steps].T)
        allowed.append((clip[:, None] != clips)[:, None, None, :].expand(*target.shape, -1))
    is_negative = torch.cat(allowed, dim=-1)
    negative = (torch.cat(scores, dim=-1) * scale[..., None]).masked_fill(~is_negative, -torch.inf)
    positive = positive * scale

    cross_entropy = -torch.cat([positive[..., None], negative], dim=-1).log_softmax(-1)[..., 0]
    counts = exists & is_negative.any(-1)
    n_counted = counts.sum((0, 1))  # (future,)
    per_step = torch.where(counts, cross_entropy, 0).sum((0, 1)) / n_counted.clamp_min(1)
    weights = (n_counted > 0) * future_weights(step_weights, n_future, per_step)
    loss = (weights * per_step).sum() / weights.sum().clamp_min(torch.finfo(per_step.dtype).tiny)

    with torch.no_grad():
        blur = rounding(length * scale, z.norm(dim=-1)[clip[:, None, None], target])
        right = (positive - blur > negative.amax(-1)) & counts
    return InfoNCE(loss, right.sum((0, 1)) / n_counted)


def draw_windows(n_valid, n_windows):
    """Draw windows that hold sound, uniformly and with replacement, from all clips of a batch.

    Returns their clips and steps, both int Tensors of shape (n_windows,).
    """
    end = n_valid.cumsum(0)
    window = torch.randint(int(end[-1]), (n_windows,), device=n_valid.device)
    clips = torch.searchsorted(end, window, right=True)
    return clips, window - (end - n_valid)[clips]


def rounding(length, other_length):
    """Bound on what rounding does to dot products of vectors of these lengths: a tie is no win."""
    return 8 * torch.finfo(length.dtype).eps * length * other_length


def future_weights(kind, n_future, like):
    """Weights of the future steps, of shape (n_future,) and summing to 1."""
    weights = torch.ones(n_future, device=like.device, dtype=like.dtype)
    if kind == "linear":
        weights = torch.arange(n_future, 0, -1, device=like.device, dtype=like.dtype)
    return weights / weights.sum()


def check_option(name, value, options):
    """Raise a ValueError that quotes the value and the options unless it is one of them."""
    if not isinstance(value, str) or value not in options:
        known = ", ".join(map(repr, options[:-1])) + f" or {options[-1]!r}"
        raise ValueError(f"{name}={value!r} is unknown; use {known}.")
