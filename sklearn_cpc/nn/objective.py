"""InfoNCE, the objective: tell the true future from other windows."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import StrOptions
from torch import nn
from torch.nn import functional as F

from .._constraints import POSITIVE, Constrained, check_parameters, integers
from .._generators import own_generator
from .._ranks import own_ranks


@dataclass(repr=False, eq=False)
class InfoNCE(Constrained, BaseEstimator):
    """Recipe of the objective: tell the true future from other windows.

    Parameters
    ----------
    negatives : {"across", "within", "mixed"}, default="across"
        Where negatives come from. "across": the other clips of the batch (section 2.2.1 of the report).
        "within": all other windows of the same clip. "mixed": both.
    n_across : int, default=None
        Number of negatives from other clips, drawn anew for every batch and shared by all predictions. None:
        the same position and step in every other clip (section 2.2.1), at most ``batch_size - 1``.
    similarity : {"dot", "cosine"}, default="dot"
        How predictions and embeddings are compared: by their dot product (section 2.2.5) or its cosine.
    temperature : float, default=None
        Divides the similarity. None: 1 for "dot", 0.1 for "cosine".
    step_weights : {"uniform", "linear"}, default="uniform"
        Weights of the future steps in the loss: equal, or falling linearly with distance (section 4).
    predict_from : {"last", "all"}, default="last"
        Predict from the last step of the past alone (the report) or from every step (the paper).
    projection : int, default=None
        Size of a linear map of z that is predicted in place of z, so that the embeddings may hold more
        than what helps to predict. None: z itself (the report).

    See Also
    --------
    info_nce : The loss as a function of tensors.

    References
    ----------
    A. van den Oord, Y. Li, O. Vinyals, "Representation Learning with Contrastive Predictive Coding",
    arXiv:1807.03748.

    Examples
    --------
    >>> from sklearn_cpc import CPCTransformer, InfoNCE
    >>> cpc = CPCTransformer(objective=InfoNCE(similarity="cosine"))
    >>> cpc.set_params(objective__negatives="mixed").objective
    InfoNCE(negatives='mixed', similarity='cosine')
    >>> InfoNCE().n_candidates(batch_size=8, n_steps=30)
    8
    """

    negatives: Annotated[str, StrOptions({"across", "within", "mixed"})] = "across"
    n_across: Annotated[int | None, integers(1, 2**20), None] = None
    similarity: Annotated[str, StrOptions({"dot", "cosine"})] = "dot"
    temperature: Annotated[float | None, POSITIVE, None] = None
    step_weights: Annotated[str, StrOptions({"uniform", "linear"})] = "uniform"
    predict_from: Annotated[str, StrOptions({"last", "all"})] = "last"
    projection: Annotated[int | None, integers(1, 2**14), None] = None

    def __call__(self, n_future):
        """Build the loss.

        Parameters
        ----------
        n_future : int
            Steps predicted (K).

        Returns
        -------
        nn.Module
            Maps a :class:`~sklearn_cpc.nn.network.Forecast` to the loss and a dict of accuracies.
        """
        self._validate_params()
        of_network = "predict_from", "projection"
        options = {name: value for name, value in self.get_params().items() if name not in of_network}
        return InfoNCELoss(n_future, **options)

    def n_candidates(self, batch_size, n_steps):
        """Count the windows that a prediction chooses from, the true one included.

        Parameters
        ----------
        batch_size, n_steps : int
            Clips per batch, and steps per clip.

        Returns
        -------
        int
            For whole clips in full batches. Chance is one over this number.
        """
        across = batch_size - 1 if self.n_across is None else self.n_across * (1 - 1 / batch_size)
        within = n_steps - 1
        return 1 + round({"across": across, "within": within, "mixed": across + within}[self.negatives])


class InfoNCELoss(nn.Module):
    """:func:`info_nce` of a forecast, with the accuracies as metrics."""

    def __init__(self, n_future, **options):
        super().__init__()
        self.options = options
        self.metrics = ("accuracy", *(f"accuracy_{k}" for k in range(1, n_future + 1)))

    def forward(self, forecast, _targets=None):
        """Return the loss and a dict of metrics: mean accuracy and accuracy per future step."""
        loss, accuracy = info_nce(*forecast, **self.options, ranks=own_ranks())
        # A step that no clip of the batch is long enough for has no accuracy.
        values = torch.cat([accuracy.nanmean()[None], accuracy]).nan_to_num(0.0)
        metrics = values.unbind() if values.is_cuda else values.tolist()  # tolist would wait for a GPU
        return loss, dict(zip(self.metrics, metrics, strict=True))


class LossAndAccuracy(NamedTuple):
    """Result of :func:`info_nce`: the loss, a scalar, and the accuracy of each future step, (n_future,)."""

    loss: torch.Tensor
    accuracy: torch.Tensor


@check_parameters(**InfoNCE._parameter_constraints)
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
    ranks=None,
):
    """InfoNCE loss of predicted embeddings against the true future and negatives.

    For the prediction of step k made at position t of a clip, the positive is z at t + k of that clip, and
    the loss is the cross entropy of picking it among the negatives. A prediction's negatives never include its
    own positive or windows of padding.

    Parameters
    ----------
    predictions : float Tensor of shape (batch, n_positions, n_future, z_dim)
        What each position predicts for steps 1 to n_future ahead.
    z : float Tensor of shape (batch, n_steps, z_dim)
        Embeddings of all windows, each encoded once.
    positions : int Tensor of shape (batch, n_positions)
        Index of the last window each prediction has heard.
    n_valid : int Tensor of shape (batch,), default=None
        Windows of each clip that hold sound; the windows after them are padding. None: all.
    negatives, n_across, similarity, temperature, step_weights
        See :class:`InfoNCE`.
    ranks : Ranks, default=None
        Processes that share the batch: the tensors are of this one's clips, the negatives of all. The results of
        all processes add up to those of the batch.

    Returns
    -------
    LossAndAccuracy
        ``loss`` and, per future step, ``accuracy``: the share of predictions whose positive scores above every
        negative, NaN without predictions. Predictions without a positive (padding) or negatives do not count;
        if none is left, the loss is 0.

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
    batch, n_steps, _ = z.shape
    n_future = predictions.shape[2]
    if n_valid is None:
        n_valid = torch.full((batch,), n_steps, device=z.device)
    if temperature is None:
        temperature = 0.1 if similarity == "cosine" else 1.0
    length = predictions.norm(dim=-1)  # (batch, positions, future)
    scale = torch.full_like(length, 1 / temperature)
    if similarity == "cosine":
        z = F.normalize(z, dim=-1)
        scale = scale / length.clamp_min(1e-12)  # scaling the scores is cheaper than normalising the predictions

    target = positions[:, :, None] + torch.arange(1, n_future + 1, device=z.device)  # (batch, positions, future)
    exists = target < n_valid[:, None, None]  # padding is no target
    target = target.clamp_max(n_steps - 1)  # keeps the index legal where no target exists; masked below
    row = torch.arange(batch, device=z.device)
    clip = row + ranks.first if ranks else row  # number of the clip among those of all ranks

    # Which candidates are negatives, (batch, positions, future, candidates).
    allowed = []
    if negatives != "across":
        step = torch.arange(n_steps, device=z.device)
        allowed.append((step != target[..., None]) & (step < n_valid[:, None, None, None]))
    is_drawn = negatives != "within" and n_across is not None
    if is_drawn:
        n_valid_of_all = ranks.n_valid.to(z.device, non_blocking=True) if ranks else n_valid
        clips, steps = draw_windows(n_valid_of_all, n_across)
        if ranks and not own_generator():  # ranks share torch's with modules that may draw more on one
            clips, steps = ranks.sum(clips * (ranks.rank == 0), steps * (ranks.rank == 0))
        allowed.append((clip[:, None] != clips)[:, None, None, :].expand(*target.shape, -1))
    elif negatives != "within":
        others, exist = z[row[:, None, None], target], exists
        if ranks:
            others, exist = ranks.gather(others, exists)
        other = clip[:, None] != torch.arange(len(others), device=z.device)
        allowed.append(other[:, None, None, :] & exist.permute(1, 2, 0))
    is_negative = torch.cat(allowed, dim=-1)
    counts = exists & is_negative.any(-1)
    n_counted = counts.sum((0, 1))  # (future,)
    if is_drawn:
        others, n_counted = ranks.pick(z, clips, steps, n_counted) if ranks else (z[clips, steps], n_counted)
    elif ranks:
        (n_counted,) = ranks.sum(n_counted)

    # Scores of the candidates, of the same shape.
    scores = []
    if negatives != "across":
        scores.append(torch.bmm(predictions.flatten(1, 2), z.transpose(1, 2)).unflatten(1, target.shape[1:]))
        positive = scores[0].gather(-1, target[..., None])[..., 0]
    else:
        positive = (predictions * z[row[:, None, None], target]).sum(-1)
    if is_drawn:
        scores.append(predictions @ others.T)
    elif negatives != "within":
        scores.append(torch.einsum("btkd,ctkd->btkc", predictions, others))
    negative = (torch.cat(scores, dim=-1) * scale[..., None]).masked_fill(~is_negative, -torch.inf)
    positive = positive * scale

    cross_entropy = -torch.cat([positive[..., None], negative], dim=-1).log_softmax(-1)[..., 0]
    with torch.no_grad():
        # Equal embeddings may differ by rounding: the positive has to win by more than that.
        tolerance = rounding_bound(length * scale, z.norm(dim=-1)[row[:, None, None], target])
        correct = (positive - tolerance > negative.amax(-1)) & counts
    # Average over the predictions of each step first: otherwise padding would shift the weights of the steps.
    per_step = torch.where(counts, cross_entropy, 0).sum((0, 1)) / n_counted.clamp_min(1)
    weights = (n_counted > 0) * future_weights(step_weights, n_future, per_step)
    loss = (weights * per_step).sum() / weights.sum().clamp_min(torch.finfo(per_step.dtype).tiny)
    return LossAndAccuracy(loss, correct.sum((0, 1)) / n_counted)


def draw_windows(n_valid, n_windows):
    """Draw windows that hold sound, uniformly and with replacement: their clips and steps, (n_windows,) each."""
    end = n_valid.cumsum(0)
    how = {"device": n_valid.device, "generator": own_generator()}
    if n_valid.is_cuda:  # int would wait for a GPU
        window = torch.randint(1 << 62, (n_windows,), **how) % end[-1]
    else:
        window = torch.randint(int(end[-1]), (n_windows,), **how)
    clips = torch.searchsorted(end, window, right=True)
    return clips, window - (end - n_valid)[clips]


def rounding_bound(length, other_length):
    """Bound the rounding error of dot products of vectors with these lengths."""
    return 8 * torch.finfo(length.dtype).eps * length * other_length


def future_weights(kind, n_future, like):
    """Return the weights of the future steps, of shape (n_future,), which sum to 1."""
    weights = torch.arange(n_future, 0, -1, device=like.device, dtype=like.dtype)
    if kind == "uniform":
        weights = torch.ones_like(weights)
    return weights / weights.sum()
