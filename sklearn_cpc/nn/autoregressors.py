"""Autoregressors: recipes that build a network from the embeddings z of past steps to a context c."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from sklearn.base import BaseEstimator
from torch import nn

from .._constraints import SHARE, UNITS, Constrained, Each, integers
from .._generators import Dropout, redirect_draws

N_LAYERS = integers(1, 100)
NUMBERS_PER_STEP = 2**13  # a recurrent layer takes at least as long for a step as other layers for these


class AutoregressorRecipe(Constrained, BaseEstimator):
    """Base class of the recipes."""

    def __call__(self, z_dim, n_context):
        """Build the network.

        Parameters
        ----------
        z_dim : int
            Size of the embedding of one step.
        n_context : int
            Number of past steps (T). Only the network of AttentionContext needs exactly this many.

        Returns
        -------
        nn.Module
            Maps (batch, steps, z_dim) to (batch, steps, c_dim); that of AttentionContext maps
            (batch, n_context, z_dim) to (batch, c_dim).

        Raises
        ------
        ValueError
            If a parameter is out of range, or ``n_heads`` does not divide the size that the heads share.
        """
        self._validate_params()
        return self._build(z_dim, n_context)


@dataclass(repr=False, eq=False)
class RecurrentRecipe(AutoregressorRecipe):
    """Base class of the recipes of recurrent networks."""

    c_dim: Annotated[int, UNITS] = 512
    n_layers: Annotated[int, N_LAYERS] = 1

    _network: ClassVar[type[nn.Module]]

    def _build(self, z_dim, n_context):
        return States(self._network(z_dim, self.c_dim, self.n_layers, batch_first=True))


class GRUContext(RecurrentRecipe):
    """Recipe for the report's recurrent autoregressor, a GRU (section 2.2.3).

    The context after each step depends on that step and all earlier ones, so every step can predict.
    With the defaults and z of 256 dimensions it has 1,182,720 weights.

    Parameters
    ----------
    c_dim : int, default=512
        Size of the context (section 2.2.3).
    n_layers : int, default=1
        Stacked recurrent layers (section 2.2.3), at most 100.

    Examples
    --------
    >>> GRUContext()(z_dim=256, n_context=27)(torch.zeros(2, 27, 256)).shape
    torch.Size([2, 27, 512])
    """

    _network = nn.GRU


class LSTMContext(RecurrentRecipe):
    """Recipe for an LSTM as autoregressor.

    The context after each step depends on that step and all earlier ones, so every step can predict. It has
    a third more weights than :class:`GRUContext`, the report's recurrent network.

    Parameters
    ----------
    c_dim : int, default=512
        Size of the context, as in the report's GRU.
    n_layers : int, default=1
        Stacked recurrent layers, at most 100.

    Examples
    --------
    >>> LSTMContext()(z_dim=256, n_context=27)(torch.zeros(2, 27, 256)).shape
    torch.Size([2, 27, 512])
    """

    _network = nn.LSTM


@dataclass(repr=False, eq=False)
class CausalAttentionContext(AutoregressorRecipe):
    """Recipe for a transformer as autoregressor, with a context after every step.

    Each step attends only to itself and earlier steps, so every step can predict. Layers normalise first
    ("pre-norm"), which makes a long warm-up of the learning rate unnecessary.

    Parameters
    ----------
    c_dim : int, default=256
        Size of the context.
    n_layers : int, default=2
        Transformer layers (as many as the report's, Table 3), at most 100.
    n_heads : int, default=4
        Attention heads; must divide ``c_dim``.
    dff : int, default=512
        Width of the feed-forward part of each layer.
    dropout : float, default=0.1
        Drop rate (Table 3).

    Examples
    --------
    >>> CausalAttentionContext()(z_dim=64, n_context=27)(torch.zeros(2, 40, 64)).shape
    torch.Size([2, 40, 256])
    """

    c_dim: Annotated[int, UNITS] = 256
    n_layers: Annotated[int, N_LAYERS] = 2
    n_heads: Annotated[int, UNITS] = 4
    dff: Annotated[int, UNITS] = 512
    dropout: Annotated[float, SHARE] = 0.1

    def _build(self, z_dim, n_context):
        if self.c_dim % self.n_heads:
            raise ValueError(f"n_heads={self.n_heads} does not divide c_dim={self.c_dim}.")
        sizes = self.c_dim, self.n_heads, self.dff
        layer = nn.TransformerEncoderLayer(*sizes, self.dropout, batch_first=True, norm_first=True)
        norm = nn.LayerNorm(self.c_dim)
        layers = nn.TransformerEncoder(layer, self.n_layers, norm, enable_nested_tensor=False)
        return CausalAttention(nn.Linear(z_dim, self.c_dim), layers, self.dropout)


@dataclass(repr=False, eq=False)
class AttentionContext(AutoregressorRecipe):
    """Recipe for the report's attention-based autoregressor (section 2.2.3, Table 3).

    Dense layers combine the flattened outputs of a transformer encoder over the entire past into **one** context
    per clip. So only the last position predicts: use it with ``predict_from="last"``, or use
    :class:`CausalAttentionContext` for a context after every step. With the defaults, z of 256 dimensions and a
    past of 27 steps it has 1,374,508 weights.

    Parameters
    ----------
    n_layers : int, default=2
        Transformer encoder layers (Table 3), at most 100.
    n_heads : int, default=2
        Attention heads; must divide the size of z (Table 3).
    dff : int, default=100
        Width of the feed-forward part of each layer (Table 3).
    dense_units : tuple of int, default=(100, 512)
        Units of the dense layers that combine the steps; the last is the size of the context (Table 3).
    dropout : float, default=0.1
        Drop rate (Table 3).

    Examples
    --------
    >>> AttentionContext()(z_dim=256, n_context=27)(torch.zeros(2, 27, 256)).shape
    torch.Size([2, 512])
    """

    n_layers: Annotated[int, N_LAYERS] = 2
    n_heads: Annotated[int, UNITS] = 2
    dff: Annotated[int, UNITS] = 100
    dense_units: Annotated[Sequence[int], Each(UNITS)] = (100, 512)
    dropout: Annotated[float, SHARE] = 0.1

    def _build(self, z_dim, n_context):
        if z_dim % self.n_heads:
            raise ValueError(f"n_heads={self.n_heads} does not divide the encoder's z_dim={z_dim}.")
        layer = nn.TransformerEncoderLayer(z_dim, self.n_heads, self.dff, self.dropout, batch_first=True)
        layers = nn.TransformerEncoder(layer, self.n_layers, enable_nested_tensor=False)
        head: list[nn.Module] = [nn.Flatten()]
        width = n_context * z_dim
        for units in self.dense_units:
            head += [Dropout(self.dropout), nn.Linear(width, units), nn.LeakyReLU()]
            width = units
        return AttentionSummary(layers, nn.Sequential(*head[:-1]), z_dim, n_context, self.dropout)


class States(nn.Module):
    """A recurrent network that returns its hidden state after every step."""

    takes_any_length = True  # trained on clips, it also works on longer recordings
    for_onnx = False

    def __init__(self, recurrent):
        super().__init__()
        self.recurrent = recurrent

    def forward(self, z):
        """Map (batch, steps, z_dim) to (batch, steps, c_dim)."""
        if self.for_onnx:
            return self._to_onnx(z)
        if z.is_meta and not torch.is_grad_enabled():  # only its shape counts; torch would go through all steps
            width = max(self.recurrent.hidden_size, NUMBERS_PER_STEP)
            states = z.new_empty(self.recurrent.num_layers, *z.shape[:2], width)
            return states[-1, :, :, : self.recurrent.hidden_size]
        if z.device.type != "cpu" or torch.backends.cpu.get_cpu_capability() == "AVX512":
            return self.recurrent(z)[0]
        with torch.autocast("cpu", enabled=False):  # without AVX-512, torch has no LSTM in bfloat16
            return self.recurrent(z.to(self.recurrent.weight_ih_l0.dtype))[0]

    def _to_onnx(self, z):
        """Use ONNX's own GRU or LSTM, for any number of steps. Its gates have another order than torch's."""
        kind, options = type(self.recurrent).__name__, {"hidden_size": self.recurrent.hidden_size}
        order = [0, 3, 1, 2]
        if kind == "GRU":
            order, options["linear_before_reset"] = [1, 0, 2], 1
        z = z.transpose(0, 1)
        shape = z.shape[0], 1, z.shape[1], self.recurrent.hidden_size
        for weights in self.recurrent.all_weights:
            inlet, inner, *biases = (w.unflatten(0, (len(order), -1))[order].flatten(0, 1)[None] for w in weights)
            inputs = z, inlet, inner, torch.cat(biases, 1)
            z = torch.onnx.ops.symbolic(kind, inputs, options, dtype=z.dtype, shape=shape).squeeze(1)
        return z.transpose(0, 1)


class CausalAttention(nn.Module):
    """Transformer encoder layers in which no step attends to later ones."""

    def __init__(self, inlet, layers, dropout):
        super().__init__()
        self.inlet, self.layers, self.dropout = inlet, layers, Dropout(dropout)

    def forward(self, z):
        """Map (batch, steps, z_dim) to (batch, steps, c_dim)."""
        h = self.inlet(z)
        h = self.dropout(h + sinusoids(h.shape[1], h.shape[2]).to(h))
        later = torch.ones(h.shape[1], h.shape[1], dtype=torch.bool, device=h.device).triu(1)
        with redirect_draws():
            return self.layers(h, mask=later, is_causal=True)


class AttentionSummary(nn.Module):
    """Transformer encoder layers whose outputs are flattened and combined into one context."""

    def __init__(self, layers, head, z_dim, n_context, dropout):
        super().__init__()
        self.layers, self.head, self.dropout = layers, head, Dropout(dropout)
        self.register_buffer("positions", sinusoids(n_context, z_dim), persistent=False)

    def forward(self, z):
        """Map (batch, n_context, z_dim) to (batch, c_dim)."""
        z = self.dropout(z * math.sqrt(z.shape[-1]) + self.positions)
        with redirect_draws():
            summary = self.layers(z)
        return self.head(summary)


def sinusoids(n_positions, dim):
    """Sinusoidal position encoding of shape (n_positions, dim): sines in even columns, cosines in odd ones."""
    position = torch.arange(n_positions, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, dim, 2) * (-math.log(10000.0) / dim))
    encoding = torch.zeros(n_positions, dim)
    encoding[:, 0::2] = torch.sin(position * rate)
    encoding[:, 1::2] = torch.cos(position * rate[: dim // 2])
    return encoding
