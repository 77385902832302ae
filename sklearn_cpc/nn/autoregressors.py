"""Autoregressors: recipes that build a network from the embeddings z heard so far to a context c."""

import math

import torch
from sklearn.base import BaseEstimator
from torch import nn

from .encoders import check_counts, check_dropout, check_layers


class States(nn.Module):
    """A recurrent network that returns its hidden state after every step."""

    takes_any_length = True  # what it has learned on clips holds for longer stretches of sound

    def __init__(self, recurrent):
        super().__init__()
        self.recurrent = recurrent

    def forward(self, z):
        """Map (batch, steps, z_dim) to (batch, steps, c_dim)."""
        return self.recurrent(z)[0]


class GRUContext(BaseEstimator):
    """Recipe of the report's recurrent autoregressor, a GRU (section 2.2.3).

    Causal: the context after each step knows that step and those before it, so every step can predict.
    With the defaults and z of 256 dimensions it has 1,182,720 weights.

    Parameters
    ----------
    c_dim : int, default=512
        Size of the context (section 2.2.3).
    n_layers : int, default=1
        Recurrent layers, one on top of the other (section 2.2.3).

    See Also
    --------
    LSTMContext : Another recurrent network.
    CausalAttentionContext : A context after every step, by self-attention.
    AttentionContext : One context for the whole past, by self-attention.

    Examples
    --------
    >>> GRUContext()(z_dim=256, n_context=27)(torch.zeros(2, 27, 256)).shape
    torch.Size([2, 27, 512])
    """

    def __init__(self, c_dim=512, n_layers=1):
        self.c_dim = c_dim
        self.n_layers = n_layers

    def __call__(self, z_dim, n_context):
        """Build the network.

        Parameters
        ----------
        z_dim : int
            Size of the embedding of one step.
        n_context : int
            Steps heard before the prediction (T); a GRU takes any number.

        Returns
        -------
        nn.Module
            Maps (batch, steps, z_dim) to (batch, steps, c_dim).
        """
        check_counts(self, "c_dim", "n_layers")
        return States(nn.GRU(z_dim, self.c_dim, self.n_layers, batch_first=True))


class LSTMContext(BaseEstimator):
    """Recipe of an LSTM as autoregressor, with a context after every step.

    Parameters
    ----------
    c_dim : int, default=512
        Size of the context; as the report's GRU.
    n_layers : int, default=1
        Recurrent layers, one on top of the other.

    See Also
    --------
    GRUContext : The report's recurrent network, with a quarter fewer weights.

    Examples
    --------
    >>> LSTMContext()(z_dim=256, n_context=27)(torch.zeros(2, 27, 256)).shape
    torch.Size([2, 27, 512])
    """

    def __init__(self, c_dim=512, n_layers=1):
        self.c_dim = c_dim
        self.n_layers = n_layers

    def __call__(self, z_dim, n_context):
        """Build the network.

        Parameters
        ----------
        z_dim : int
            Size of the embedding of one step.
        n_context : int
            Steps heard before the prediction (T); an LSTM takes any number.

        Returns
        -------
        nn.Module
            Maps (batch, steps, z_dim) to (batch, steps, c_dim).
        """
        check_counts(self, "c_dim", "n_layers")
        return States(nn.LSTM(z_dim, self.c_dim, self.n_layers, batch_first=True))


class CausalAttention(nn.Module):
    """Transformer encoder layers in which no step sees those after it."""

    def __init__(self, inlet, layers, dropout):
        super().__init__()
        self.inlet, self.layers, self.dropout = inlet, layers, nn.Dropout(dropout)

    def forward(self, z):
        """Map (batch, steps, z_dim) to (batch, steps, c_dim)."""
        h = self.inlet(z)
        h = self.dropout(h + sinusoids(h.shape[1], h.shape[2]).to(h))
        later = torch.ones(h.shape[1], h.shape[1], dtype=torch.bool, device=h.device).triu(1)
        return self.layers(h, mask=later, is_causal=True)


class CausalAttentionContext(BaseEstimator):
    """Recipe of self-attention as autoregressor, with a context after every step.

    A transformer whose layers see a step and those before it, never one after, so that every step can
    predict. Layers normalise first ("pre-norm"), which trains without a long warm-up.

    Parameters
    ----------
    c_dim : int, default=256
        Size of the context.
    n_layers : int, default=2
        Transformer layers (as many as the report's, Table 3).
    n_heads : int, default=4
        Attention heads; must divide ``c_dim``.
    dff : int, default=512
        Width of the feed-forward part of each layer.
    dropout : float, default=0.1
        Drop rate (Table 3).

    See Also
    --------
    AttentionContext : The report's: one context for the whole past.

    Examples
    --------
    >>> CausalAttentionContext()(z_dim=64, n_context=27)(torch.zeros(2, 40, 64)).shape
    torch.Size([2, 40, 256])
    """

    def __init__(self, c_dim=256, n_layers=2, n_heads=4, dff=512, dropout=0.1):
        self.c_dim = c_dim
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.dff = dff
        self.dropout = dropout

    def __call__(self, z_dim, n_context):
        """Build the network.

        Parameters
        ----------
        z_dim : int
            Size of the embedding of one step.
        n_context : int
            Steps heard before the prediction (T); the network takes any number.

        Returns
        -------
        nn.Module
            Maps (batch, steps, z_dim) to (batch, steps, c_dim).

        Raises
        ------
        ValueError
            If a parameter is out of range or ``n_heads`` does not divide ``c_dim``.
        """
        check_counts(self, "c_dim", "n_layers", "n_heads", "dff")
        check_dropout(self)
        if self.c_dim % self.n_heads:
            raise ValueError(f"n_heads={self.n_heads} does not divide c_dim={self.c_dim}.")
        layer = nn.TransformerEncoderLayer(
            self.c_dim, self.n_heads, self.dff, self.dropout, batch_first=True, norm_first=True
        )
        norm = nn.LayerNorm(self.c_dim)
        layers = nn.TransformerEncoder(layer, self.n_layers, norm, enable_nested_tensor=False)
        return CausalAttention(nn.Linear(z_dim, self.c_dim), layers, self.dropout)


class AttentionSummary(nn.Module):
    """Transformer encoder layers whose outputs are flattened and joined into one context."""

    def __init__(self, layers, head, z_dim, n_context, dropout):
        super().__init__()
        self.layers, self.head, self.dropout = layers, head, nn.Dropout(dropout)
        self.register_buffer("positions", sinusoids(n_context, z_dim), persistent=False)

    def forward(self, z):
        """Map (batch, n_context, z_dim) to (batch, c_dim)."""
        z = self.dropout(z * math.sqrt(z.shape[-1]) + self.positions)
        return self.head(self.layers(z))


class AttentionContext(BaseEstimator):
    """Recipe of the report's attention-based autoregressor (section 2.2.3, Table 3).

    The encoder of a transformer over the whole past; its outputs are flattened and combined by dense
    layers into **one** context per clip. So only the last position predicts: use it with
    ``predict_from="last"``. With the defaults, z of 256 dimensions and a past of 27 steps it has
    1,374,508 weights.

    Parameters
    ----------
    n_layers : int, default=2
        Transformer encoder layers (Table 3).
    n_heads : int, default=2
        Attention heads; must divide the size of z (Table 3).
    dff : int, default=100
        Width of the feed-forward part of each layer (Table 3).
    dense_units : tuple of int, default=(100, 512)
        Dense layers that combine the steps; the last is the size of the context (Table 3).
    dropout : float, default=0.1
        Drop rate (Table 3).

    See Also
    --------
    CausalAttentionContext : Self-attention with a context after every step.
    GRUContext : A recurrent network, likewise.

    Examples
    --------
    >>> AttentionContext()(z_dim=256, n_context=27)(torch.zeros(2, 27, 256)).shape
    torch.Size([2, 512])
    """

    def __init__(self, n_layers=2, n_heads=2, dff=100, dense_units=(100, 512), dropout=0.1):
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.dff = dff
        self.dense_units = dense_units
        self.dropout = dropout

    def __call__(self, z_dim, n_context):
        """Build the network.

        Parameters
        ----------
        z_dim : int
            Size of the embedding of one step.
        n_context : int
            Steps heard before the prediction (T).

        Returns
        -------
        nn.Module
            Maps (batch, n_context, z_dim) to (batch, c_dim).

        Raises
        ------
        ValueError
            If a parameter is out of range or ``n_heads`` does not divide ``z_dim``.
        """
        check_counts(self, "n_layers", "n_heads", "dff")
        check_dropout(self)
        check_layers(self, "dense_units")
        if z_dim % self.n_heads:
            raise ValueError(f"n_heads={self.n_heads} does not divide the encoder's z_dim={z_dim}.")
        layer = nn.TransformerEncoderLayer(z_dim, self.n_heads, self.dff, self.dropout, batch_first=True)
        layers = nn.TransformerEncoder(layer, self.n_layers, enable_nested_tensor=False)
        head: list[nn.Module] = [nn.Flatten()]
        width = n_context * z_dim
        for units in self.dense_units:
            head += [nn.Dropout(self.dropout), nn.Linear(width, units), nn.LeakyReLU()]
            width = units
        return AttentionSummary(layers, nn.Sequential(*head[:-1]), z_dim, n_context, self.dropout)


def sinusoids(n_positions, dim):
    """Sinusoidal position encoding of shape (n_positions, dim): sines in the even columns, cosines in the odd."""
    position = torch.arange(n_positions, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, dim, 2) * (-math.log(10000.0) / dim))
    encoding = torch.zeros(n_positions, dim)
    encoding[:, 0::2] = torch.sin(position * rate)
    encoding[:, 1::2] = torch.cos(position * rate[: dim // 2])
    return encoding
