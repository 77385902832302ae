"""A trained network under the common API of HEAR 2021 (hearbenchmark.com), for its benchmark and other tools."""

import numpy as np
import torch
from torch import nn

from ._pipelines import find_nested
from .cpc import CPCTransformer
from .persistence import load


class Model(nn.Module):
    """A loaded CPCTransformer with the attributes that HEAR asks for. It now takes arrays of any length."""

    def __init__(self, cpc):
        super().__init__()
        vars(cpc).pop("n_features_in_", None)
        self.cpc, self.network = cpc, cpc.network_  # which to() moves to a device
        self.sample_rate = cpc.sample_rate_
        self.scene_embedding_size = cpc._n_features_out
        self.timestamp_embedding_size = cpc.network_.dims["z"]


def load_model(model_file_path):
    """Load the CPCTransformer, or that of a pipeline, from a file that :func:`sklearn_cpc.save` wrote.

    Parameters
    ----------
    model_file_path : str or path-like

    Returns
    -------
    Model
        Has ``sample_rate`` in Hz, ``scene_embedding_size`` and ``timestamp_embedding_size``.

    Raises
    ------
    TypeError
        If the file holds no CPCTransformer.
    """
    estimator = load(model_file_path)
    found = find_nested(estimator, lambda part: isinstance(part, CPCTransformer))
    if not found:
        raise TypeError(f"{model_file_path} holds a {type(estimator).__name__}, and no CPCTransformer.")
    return Model(found[0])


def as_samples(audio):
    """Return a tensor as an array of float32, or of its integers, whose type states their full scale."""
    audio = audio.detach().cpu()
    return (audio.float() if audio.is_floating_point() else audio).numpy()


def get_scene_embeddings(audio, model):
    """Embed sounds as ``transform`` does.

    Parameters
    ----------
    audio : float Tensor of shape (n_sounds, n_samples)
        From -1 to 1, at the rate of the model.
    model : Model

    Returns
    -------
    float Tensor of shape (n_sounds, scene_embedding_size)
        On the device of the audio.
    """
    samples = as_samples(audio)
    embeddings = model.cpc.set_params(device=str(audio.device)).transform(samples)
    return torch.from_numpy(np.asarray(embeddings)).to(audio.device)


def get_timestamp_embeddings(audio, model):
    """Embed every step of sounds. Silence at both ends is kept, also with ``trim``.

    Parameters
    ----------
    audio : float Tensor of shape (n_sounds, n_samples)
        From -1 to 1, at the rate of the model.
    model : Model

    Returns
    -------
    embeddings : float Tensor of shape (n_sounds, n_timestamps, timestamp_embedding_size)
        z, on the device of the audio.
    timestamps : float Tensor of shape (n_sounds, n_timestamps)
        Centres of the steps in milliseconds.
    """
    samples = as_samples(audio)
    times, embeddings = zip(*model.cpc.set_params(device=str(audio.device)).transform_frames(samples), strict=True)
    timestamps = torch.stack([torch.from_numpy(1000 * row).float() for row in times])
    return torch.stack(list(map(torch.from_numpy, embeddings))).to(audio.device), timestamps.to(audio.device)
