"""CPCNetwork: clips to z, z to context c, c to predictions of the future z."""

import copy
from numbers import Integral
from typing import NamedTuple

import torch
from torch import nn

from .autoregressors import AttentionContext, CausalAttentionContext, GRUContext, LSTMContext
from .encoders import Conv1dEncoder, Conv2dEncoder
from .logmel_encoder import LogMelEncoder
from .objective import info_nce

ENCODERS = {"conv1d": Conv1dEncoder, "conv2d": Conv2dEncoder, "logmel": LogMelEncoder}
AUTOREGRESSORS = {
    "gru": GRUContext,
    "attention": AttentionContext,
    "lstm": LSTMContext,
    "causal_attention": CausalAttentionContext,
}
PREDICT_FROM = ("last", "all")


class Forecast(NamedTuple):
    """What the network makes of a batch: everything the loss needs."""

    predictions: torch.Tensor  # (batch, positions, n_future, z_dim)
    z: torch.Tensor  # (batch, n_steps, z_dim)
    positions: torch.Tensor  # (batch, positions): last step heard by each prediction
    n_valid: torch.Tensor  # (batch,): steps that hold sound, not padding


class CPCNetwork(nn.Module):
    """Encoder, autoregressor and one linear predictor per future step (the report's figure 1).

    z_t is the embedding of step t, c_t the context after steps 1 to t, and W_k c_t the prediction of
    z_{t+k}.

    Parameters
    ----------
    encoder : nn.Module
        Maps clips of shape (batch, n_samples) to z of shape (batch, n_context + n_future, z_dim).
    autoregressor : nn.Module
        Maps z of shape (batch, steps, z_dim) to contexts of shape (batch, steps, c_dim), each knowing
        only its step and those before; or to one context per clip, of shape (batch, c_dim).
    n_context, n_future : int
        Steps heard (T) and steps predicted (K).
    z_dim, c_dim : int
        Sizes of z and c.
    single_context : bool
        Whether the autoregressor yields one context per clip.
    predict_from : {"last", "all"}
        Whether only step T predicts or every step does.
    projection : int, default=None
        Size of a linear map of z that is predicted in its place. None: z itself.
    augmentation : nn.Module, default=None
        Alters the clips the context hears, in training; what is to be predicted stays as it is.
    """

    def __init__(
        self,
        encoder,
        autoregressor,
        n_context,
        n_future,
        z_dim,
        c_dim,
        single_context,
        predict_from,
        projection=None,
        augmentation=None,
    ):
        super().__init__()
        self.encoder, self.autoregressor = encoder, autoregressor
        self.predictor = nn.Linear(c_dim, n_future * (projection or z_dim), bias=False)
        self.projector = nn.Linear(z_dim, projection) if projection else nn.Identity()
        self.augmentation = augmentation
        self.n_context, self.n_future = n_context, n_future
        self.single_context, self.predict_from = single_context, predict_from
        self.dims = {"z": z_dim, "c": c_dim, "context": c_dim}
        if hasattr(encoder, "with_mel"):
            self.dims["mel"] = self.dims["centred"] = encoder.n_mels

    def forward(self, clips, n_valid):
        """Encode every window once and predict; returns a :class:`Forecast`.

        Once more, in training, if there is an augmentation.

        Parameters
        ----------
        clips : float Tensor of shape (batch, n_samples)
        n_valid : int Tensor of shape (batch,)
            Steps of each clip that hold sound.
        """
        z = past = self.encoder(clips)  # (batch, n_steps, z_dim)
        if self.training and self.augmentation is not None:
            past = self.encoder(self.augmentation(clips))
        if self.predict_from == "all":
            c = self.autoregressor(past[:, :-1])  # (batch, n_steps - 1, c_dim)
            positions = torch.arange(c.shape[1], device=z.device).expand(c.shape[:2])
        else:
            # A recording shorter than the clip predicts its own last n_future windows.
            heard = (n_valid - self.n_future).clamp(1, self.n_context)
            c, positions = self.context(past, heard)[:, None], heard[:, None] - 1
        predictions = self.predictor(c).unflatten(-1, (self.n_future, -1))
        return Forecast(predictions.float(), self.projector(z).float(), positions, n_valid)

    def context(self, z, heard):
        """Context after the first ``heard`` (batch,) steps of each clip, of shape (batch, c_dim)."""
        z = z[:, : self.n_context]
        if self.single_context:
            z = nn.functional.pad(z, (0, 0, 0, self.n_context - z.shape[1]))  # batches may be cut shorter
            step = torch.arange(z.shape[1], device=z.device)
            return self.autoregressor(z * (step < heard[:, None])[..., None])
        return self.autoregressor(z)[torch.arange(len(z), device=z.device), heard - 1]

    def layers(self, clips, n_valid, names):
        """Embed every step of clips.

        Parameters
        ----------
        clips : float Tensor of shape (batch, n_samples)
        n_valid : int Tensor of shape (batch,)
        names : collection of {"z", "c", "context", "mel", "centred"}
            Embeddings; contexts after every step; the context after the first ``n_context`` steps; mel
            bands in decibels and as the convolutions take them, of an encoder that has ``with_mel``.

        Returns
        -------
        dict of {str: Tensor of shape (batch, n_steps, dim)}
            By name; "context" has one step.
        """
        with_mel = not {"mel", "centred"}.isdisjoint(names)
        z, bands = self.encoder.with_mel(clips) if with_mel else (self.encoder(clips), {})
        layers = {
            "z": lambda: z,
            "c": lambda: self.autoregressor(z),
            "context": lambda: self.context(z, n_valid.clamp_max(self.n_context))[:, None],
        }
        return {name: bands[name] if name in bands else layers[name]() for name in names}


class InfoNCELoss(nn.Module):
    """:func:`info_nce` of a :class:`Forecast`, with the accuracies as metrics.

    Parameters
    ----------
    n_future : int
        Steps predicted (K).
    **options
        Keyword arguments of :func:`info_nce`.
    """

    def __init__(self, n_future, **options):
        super().__init__()
        self.options = options
        self.metrics = ("accuracy", *(f"accuracy_{k}" for k in range(1, n_future + 1)))

    def forward(self, forecast, _targets=None):
        """Return the loss and a dict of metrics: mean accuracy and accuracy per future step."""
        loss, accuracy = info_nce(*forecast, **self.options)
        # A step that no clip of the batch is long enough for has no accuracy.
        values = torch.cat([accuracy.nanmean()[None], accuracy]).nan_to_num(0.0).tolist()
        return loss, dict(zip(self.metrics, values, strict=True))


def build_network(
    encoder, autoregressor, n_samples, n_context, n_future, predict_from, projection=None, augmentation=None
):
    """Build a CPCNetwork from names, recipes, modules or callables, and check that the parts fit.

    Parameters
    ----------
    encoder, autoregressor : str, recipe, nn.Module or callable
        See :class:`~sklearn_cpc.CPCTransformer`.
    n_samples : int
        Samples of a clip.
    n_context, n_future, predict_from, projection, augmentation
        See :class:`CPCNetwork`.

    Raises
    ------
    ValueError
        If a name is unknown or the shapes do not fit.
    TypeError
        If an argument is or returns something else than a module.
    """
    n_steps = n_context + n_future
    encoder_net = build_part("encoder", encoder, ENCODERS, n_samples, n_steps)
    if hasattr(encoder_net, "samples_per_step"):
        n_samples = n_steps * encoder_net.samples_per_step
    z = trial("encoder", encoder_net, torch.zeros(2, n_samples))
    if z.ndim != 3 or z.shape[:2] != (2, n_steps):
        raise ValueError(
            f"encoder={encoder!r} maps samples of shape (2, {n_samples}) to {tuple(z.shape)}; it must return "
            f"(2, {n_steps}, z_dim): one embedding for each of n_context + n_future steps."
        )
    context_net = build_part("autoregressor", autoregressor, AUTOREGRESSORS, z.shape[2], n_context)
    c = trial("autoregressor", context_net, z[:, :n_context])
    single = c.ndim == 2
    if c.shape[:-1] != ((2,) if single else (2, n_context)):
        raise ValueError(
            f"autoregressor={autoregressor!r} maps z of shape {(2, n_context, z.shape[2])} to {tuple(c.shape)}; "
            f"it must return (2, {n_context}, c_dim), a context per step, or (2, c_dim), one per clip."
        )
    if single and predict_from == "all":
        raise ValueError(
            f"predict_from='all' needs a context at every step, but autoregressor={autoregressor!r} yields one "
            "per clip; use predict_from='last' or autoregressor='gru'."
        )
    if predict_from == "all":
        trial("autoregressor", context_net, z[:, :-1])  # more steps than n_context
    sizes = n_context, n_future, z.shape[2], c.shape[-1]
    return CPCNetwork(encoder_net, context_net, *sizes, single, predict_from, projection, augmentation)


def build_part(name, value, known, *sizes):
    """Turn a name, recipe, nn.Module or callable into an nn.Module of its own.

    It is a copy, on the CPU: no estimator trains what its user passed, nor what a callable returns twice.
    """
    check_part(name, value, known)
    value = known[value]() if isinstance(value, str) else value
    module = value if isinstance(value, nn.Module) else value(*sizes)
    if not isinstance(module, nn.Module):
        names = ", ".join(map(repr, known))
        came = f"{name}={value!r} returned {type(module).__name__}"
        raise TypeError(f"{came}; use {names}, a recipe, an nn.Module or a callable returning one.")
    return copy.deepcopy(module).cpu()


def check_part(name, value, known):
    """Raise unless the value is a known name, an nn.Module or something to call."""
    names = ", ".join(map(repr, known))
    if isinstance(value, str) and value not in known:
        raise ValueError(
            f"{name}={value!r} is unknown; use {names}, a recipe, or a callable returning an nn.Module."
        )
    if isinstance(value, type) and not issubclass(value, nn.Module):
        kind = value.__name__
        raise TypeError(f"{name} is a class of recipes; use an instance of it: {kind}().")
    if not isinstance(value, str) and not callable(value):
        raise TypeError(f"{name}={value!r}; use {names}, a recipe, an nn.Module or a callable returning one.")


def trial(name, module, batch):
    """Run a module once, without dropout or gradients, to learn the shape of what it returns."""
    was_training = module.training
    try:
        with torch.no_grad():  # inference_mode would leave lazy layers with weights that cannot be trained
            output = module.eval()(batch)
    except Exception as error:  # a user's module may raise anything
        raise ValueError(f"{name} cannot take a batch of shape {tuple(batch.shape)}: {error}") from error
    finally:
        module.train(was_training)
    if not isinstance(output, torch.Tensor):
        raise TypeError(f"{name} must return a tensor, got {type(output).__name__}.")
    return output


def sample_rate_of(encoder):
    """Rate in Hz at which an encoder wants its samples, from its ``sample_rate`` attribute.

    Raises
    ------
    ValueError
        If the name is unknown or the encoder does not say its rate.
    TypeError
        If it is no encoder at all.
    """
    check_part("encoder", encoder, ENCODERS)
    encoder = ENCODERS[encoder]() if isinstance(encoder, str) else encoder
    rate = getattr(encoder, "sample_rate", None)
    if not isinstance(rate, Integral) or rate < 1:
        raise ValueError(
            f"encoder={encoder!r} has sample_rate={rate!r}, but recordings must be read at some rate; give it an "
            "attribute sample_rate: a positive integer, in Hz."
        )
    return int(rate)
