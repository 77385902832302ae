"""A contrastive score whose task is the same whatever the network was trained with."""

import numpy as np
import torch

N_WITHIN, N_ACROSS = 15, 16


def contrastive_accuracy(forecasts, similarity):
    """Share of predictions whose true future scores above 31 fixed negatives; chance is 1/32.

    15 negatives are other windows of the same clip and 16 are windows of other clips, drawn with a
    fixed seed. (A clip with no other window, or the only clip, is judged by the other kind alone.)

    Parameters
    ----------
    forecasts : list of Forecast
        One per batch; together all clips.
    similarity : {"dot", "cosine"}
        How predictions and embeddings are compared.

    Returns
    -------
    float
        Mean over all predictions; NaN if there are none.
    """
    predictions = torch.cat([f.predictions for f in forecasts])  # (clips, positions, future, z_dim)
    z = torch.cat([f.z for f in forecasts])  # (clips, steps, z_dim)
    positions = torch.cat([f.positions for f in forecasts])
    n_valid = torch.cat([f.n_valid for f in forecasts])
    if similarity == "cosine":
        z = torch.nn.functional.normalize(z, dim=-1)

    future = torch.arange(1, predictions.shape[2] + 1, device=z.device)
    target = positions[..., None] + future  # (clips, positions, future)
    clip, position, k = torch.nonzero(target < n_valid[:, None, None], as_tuple=True)
    target, predictions = target[clip, position, k], predictions[clip, position, k]  # (n,), (n, z_dim)
    negative_clip, negative_step = draw_negatives(clip.cpu().numpy(), target.cpu().numpy(), n_valid.cpu().numpy())

    hits = []
    for part in torch.arange(len(clip)).split(4096):  # bounds the memory
        positive = (predictions[part] * z[clip[part], target[part]]).sum(-1)
        negatives = torch.einsum("nd,nmd->nm", predictions[part], z[negative_clip[part], negative_step[part]])
        hits.append(positive > negatives.amax(1))
    return torch.cat(hits).double().mean().item() if hits else float("nan")


def draw_negatives(clip, target, n_valid):
    """Draw the negatives of n predictions with a fixed seed.

    Parameters
    ----------
    clip, target : int ndarray of shape (n,)
        Clip and step of each positive.
    n_valid : int ndarray of shape (n_clips,)

    Returns
    -------
    clips, steps : int ndarray of shape (n, N_WITHIN + N_ACROSS)
    """
    random = np.random.RandomState(0)
    shape = (len(clip), N_WITHIN + N_ACROSS)
    within = np.broadcast_to(np.arange(shape[1]) < N_WITHIN, shape)
    within = np.where((n_valid[clip] < 2)[:, None], False, within) if len(n_valid) > 1 else within | True
    # A shift of at least one, around the circle of clips or steps, never meets the positive again.
    shift = 1 + np.floor(random.uniform(size=shape) * max(1, len(n_valid) - 1)).astype(int)
    clips = np.where(within, clip[:, None], (clip[:, None] + shift) % len(n_valid))
    shift = 1 + np.floor(random.uniform(size=shape) * np.maximum(1, n_valid[clip] - 1)[:, None]).astype(int)
    anywhere = np.floor(random.uniform(size=shape) * n_valid[clips]).astype(int)
    steps = np.where(within, (target[:, None] + shift) % n_valid[clip][:, None], anywhere)
    return clips, steps
