"""CPCNetwork: clips to z, z to context c, c to predictions of the future z."""

import copy
from contextlib import nullcontext
from numbers import Integral
from typing import NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from .autoregressors import AttentionContext, CausalAttentionContext, GRUContext, LSTMContext
from .encoders import Conv1dEncoder, Conv2dEncoder
from .logmel_encoder import LogMelEncoder
from .objective import InfoNCE

ENCODERS = {"conv1d": Conv1dEncoder, "conv2d": Conv2dEncoder, "logmel": LogMelEncoder}
AUTOREGRESSORS = {
    "gru": GRUContext,
    "attention": AttentionContext,
    "lstm": LSTMContext,
    "causal_attention": CausalAttentionContext,
}
OBJECTIVES = {"info_nce": InfoNCE}
MAX_CLIP = 2**28  # samples: an hour and a half at 48 kHz
MAX_COST = 2**32  # of a part of the network for two clips: numbers in all results, far above real use
SUMS_PER_NUMBER = 2**11  # products and sums that count like one number
MAX_TRIED = 1000
_tried: dict = {}  # what modules of recipes return: at most so many tensors, which hold shapes but no numbers


class Forecast(NamedTuple):
    """Output of the network for a batch: everything the loss needs."""

    predictions: torch.Tensor  # (batch, positions, n_future, z_dim)
    z: torch.Tensor  # (batch, n_steps, z_dim)
    positions: torch.Tensor  # (batch, positions): last step heard by each prediction
    n_valid: torch.Tensor  # (batch,): steps that hold sound, not padding


class CPCNetwork(nn.Module):
    """Encoder, autoregressor and one linear predictor per future step (the report's figure 1).

    z_t is the embedding of step t, c_t the context after steps 1 to t, and W_k c_t the prediction of z_{t+k}.
    The objective says which steps predict, and whether they predict a projection of z. The augmentation alters
    the clips that the context hears in training. ``z`` and ``c`` show the sizes of embeddings and contexts.
    """

    def __init__(
        self, encoder, autoregressor, objective, augmentation, z, c, *, n_context, n_future, n_samples, sample_rate
    ):
        super().__init__()
        z_dim, c_dim = z.shape[-1], c.shape[-1]
        self.n_samples, self.sample_rate = n_samples, sample_rate
        self.encoder, self.autoregressor = encoder, autoregressor
        projection = objective.projection
        self.predictor = nn.Linear(c_dim, n_future * (projection or z_dim), bias=False)
        self.projector = nn.Linear(z_dim, projection) if projection else nn.Identity()
        self.augmentation = augmentation
        self.n_context, self.n_future = n_context, n_future
        self.single_context, self.predict_from = c.ndim == 2, objective.predict_from
        self.dims = {"z": z_dim, "c": c_dim, "context": c_dim}
        if hasattr(encoder, "with_mel"):
            self.dims["mel"] = self.dims["centred"] = encoder.n_mels

    def forward(self, clips, n_valid):
        """Map clips (batch, n_samples), of which n_valid (batch,) steps hold sound, to a :class:`Forecast`."""
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
        """Return the context after the first ``heard`` (batch,) steps of each clip, of shape (batch, c_dim)."""
        z = z[:, : self.n_context]
        if self.single_context:
            z = nn.functional.pad(z, (0, 0, 0, self.n_context - z.shape[1]))  # batches may be cut shorter
            step = torch.arange(z.shape[1], device=z.device)
            return self.autoregressor(z * (step < heard[:, None])[..., None])
        return self.autoregressor(z)[torch.arange(z.shape[0], device=z.device), heard - 1]

    def layers(self, clips, n_valid, names):
        """Embed every step of clips: a dict of tensors (batch, n_steps, dim) with these names.

        "z": embeddings. "c": contexts after every step. "context": the one after the first ``n_context`` steps,
        as a single step. "mel" and "centred", for encoders that have ``with_mel``: mel bands in decibels, and as
        the convolutions take them.
        """
        with_mel = not {"mel", "centred"}.isdisjoint(names)
        z, bands = self.encoder.with_mel(clips) if with_mel else (self.encoder(clips), {})
        layers = {
            "z": lambda: z,
            "c": lambda: self.autoregressor(z),
            "context": lambda: self.context(z, n_valid.clamp_max(self.n_context))[:, None],
        }
        return {name: bands[name] if name in bands else layers[name]() for name in names}


def build_network(encoder, autoregressor, objective, *, n_samples, n_context, n_future, augmentation=None):
    """Build a CPCNetwork from names, recipes, modules or callables, and check that the parts fit.

    The parts are tried on a batch of two clips to learn their shapes. Parts whose shapes do not fit, or that
    compute too much, raise a ValueError, parts that neither are nor return modules a TypeError.
    """
    # The device "meta" computes nothing and takes no memory, but not every user's module runs there.
    recipes = str, *ENCODERS.values(), *AUTOREGRESSORS.values()
    device = "meta" if type(encoder) in recipes and type(autoregressor) in recipes else "cpu"
    n_steps = n_context + n_future
    if n_samples > MAX_CLIP:
        raise ValueError(f"clip_duration makes clips of {n_samples} samples; at most {MAX_CLIP} are allowed.")
    encoder_net = build_module("encoder", encoder, ENCODERS, n_samples, n_steps)
    n_tried = n_steps * encoder_net.samples_per_step if hasattr(encoder_net, "samples_per_step") else n_samples
    batch = torch.zeros(2, n_tried, device=device)
    z = try_once("encoder", encoder_net, batch, encoder, n_samples, n_steps)
    if z.ndim != 3 or z.shape[:2] != (2, n_steps):
        raise ValueError(
            f"encoder={encoder!r} maps samples of shape (2, {n_tried}) to {tuple(z.shape)}; it must return "
            f"(2, {n_steps}, z_dim): one embedding for each of n_context + n_future steps."
        )
    context_net = build_module("autoregressor", autoregressor, AUTOREGRESSORS, z.shape[2], n_context)
    c = try_once("autoregressor", context_net, z[:, :n_context], autoregressor, n_context)
    single = c.ndim == 2
    if c.shape[:-1] != ((2,) if single else (2, n_context)):
        raise ValueError(
            f"autoregressor={autoregressor!r} maps z of shape {(2, n_context, z.shape[2])} to {tuple(c.shape)}; "
            f"it must return (2, {n_context}, c_dim), a context per step, or (2, c_dim), one per clip."
        )
    if objective.predict_from == "all":
        if single:
            raise ValueError(
                f"predict_from='all' needs a context at every step, but autoregressor={autoregressor!r} yields "
                "one per clip; use predict_from='last' or autoregressor='gru'."
            )
        try_once("autoregressor", context_net, z[:, :-1], autoregressor, n_context)  # more steps
    rate = getattr(resolve_recipe("encoder", encoder, ENCODERS), "sample_rate", None)
    sizes = {"n_context": n_context, "n_future": n_future, "n_samples": n_samples, "sample_rate": rate}
    return CPCNetwork(encoder_net, context_net, objective, augmentation, z, c, **sizes)


def resolve_recipe(name, value, known):
    """Return a recipe, nn.Module or callable as it is, and for a name the recipe that ``known`` has for it."""
    use = f"use {', '.join(map(repr, known))}, a recipe, an nn.Module or a callable returning one."
    if isinstance(value, str):
        if value not in known:
            raise ValueError(f"{name}={value!r} is unknown; {use}")
        return known[value]()
    if isinstance(value, type) and not issubclass(value, nn.Module):
        raise TypeError(f"{name} is a class of recipes; use an instance of it: {value.__name__}().")
    if not callable(value):
        raise TypeError(f"{name}={value!r}; {use}")
    return value


def build_module(name, value, known, *sizes):
    """Turn a name, recipe, nn.Module or callable into an nn.Module of its own, on the default device.

    It is new or a copy: no estimator trains a module that its user passed, or that a callable returns twice.
    """
    value = resolve_recipe(name, value, known)
    module = value if isinstance(value, nn.Module) else value(*sizes)
    if not isinstance(module, nn.Module):
        names, kind = ", ".join(map(repr, known)), type(module).__name__
        raise TypeError(f"{name}={value!r} returned {kind}; use {names} or a callable returning an nn.Module.")
    return (module if type(value) in known.values() else copy.deepcopy(module)).to(torch.get_default_device())


class ComputationLimit(TorchDispatchMode):
    """Raises a ValueError in a block that would take far more time or memory than any real network."""

    cost = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Run one operation, and count the numbers in its result and the products and sums it takes."""
        result = function(*args, **(kwargs or {}))
        tensors = result if isinstance(result, (tuple, list)) else [result]
        self.cost += sum(tensor.numel() for tensor in tensors if isinstance(tensor, torch.Tensor))
        if function._overloadpacket in flop_registry:
            n_sums = flop_registry[function._overloadpacket](*args, **(kwargs or {}), out_val=result)
            self.cost += n_sums // SUMS_PER_NUMBER
        if self.cost > MAX_COST:
            raise ValueError(
                f"two clips would take more than {MAX_COST:.1e} numbers in the results of all layers, or "
                f"{MAX_COST * SUMS_PER_NUMBER:.1e} products and sums; use shorter clips, a lower sample rate, "
                "fewer steps or smaller layers"
            )
        return result


def try_once(name, module, batch, recipe, *sizes):
    """As :func:`try_module`; but on the device "meta", equal recipes are tried once, for one result."""
    if not batch.is_meta:
        return try_module(name, module, batch)
    made_of = recipe if isinstance(recipe, str) else (type(recipe), repr(recipe.get_params()))
    key = name, made_of, sizes, batch.shape
    if (known := _tried.get(key)) is not None:
        return known
    if len(_tried) >= MAX_TRIED:
        _tried.clear()
    return _tried.setdefault(key, try_module(name, module, batch))


def try_module(name, module, batch):
    """Run a module once, without dropout or gradients, to learn the shape of its output."""
    module = copy.deepcopy(module).to(batch.device) if batch.is_meta else module
    was_training = module.training
    try:
        # inference_mode would leave lazy layers with weights that cannot be trained.
        with torch.no_grad(), ComputationLimit() if batch.is_meta else nullcontext():
            output = module.eval()(batch)
    except Exception as error:  # a user's module may raise anything
        raise ValueError(f"{name} cannot take a batch of shape {tuple(batch.shape)}: {error}") from error
    finally:
        module.train(was_training)
    if not isinstance(output, torch.Tensor):
        raise TypeError(f"{name} must return a tensor, got {type(output).__name__}.")
    return output


def get_sample_rate(encoder):
    """Return the rate in Hz at which an encoder wants its samples, from its ``sample_rate`` attribute."""
    rate = getattr(resolve_recipe("encoder", encoder, ENCODERS), "sample_rate", None)
    if not isinstance(rate, Integral) or rate < 1:
        raise ValueError(
            f"encoder={encoder!r} has sample_rate={rate!r}, but recordings must be read at some rate; give it an "
            "attribute sample_rate: a positive integer, in Hz."
        )
    return int(rate)
