"""ONNX: a fitted estimator as one graph, from samples to features or probabilities, for runtimes without torch."""

import copy
import json
import logging
import os
import warnings

import numpy as np
import torch
from sklearn.base import is_classifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.nn import functional as F

from ._constraints import check_parameters
from ._extras import import_extra
from ._warnings import warn
from .autoencoder import AutoencoderReducer
from .cpc import CPCTransformer
from .nn.pooling import N_THIRDS, POOLINGS
from .persistence.container import library_versions, write_file
from .probe import LinearProbe
from .training.clip_geometry import ClipShape
from .training.device import standard_settings

TOLERANCE = 1e-3  # of the check before a file is written, relative to the largest number; rounding stays far below
ADVICE = (
    "A module of your own can be exported if it uses torch's operations only, takes sizes from tensor.shape and "
    "not from len(tensor), and has no if or loop that depends on the batch or on numbers in a tensor."
)


@check_parameters(frames=[StrOptions({"z", "c"}), None])
def export_onnx(estimator, path, *, frames=None):
    """Write a fitted CPCTransformer, or a Pipeline that begins with one, to an ONNX file.

    The model maps samples at the encoder's rate, a float32 array (batch, n_samples), to what ``transform`` or
    ``predict_proba`` returns for them. Before it is written, it is run and compared with the estimator.

    Parameters
    ----------
    estimator : CPCTransformer or Pipeline
        Fitted. After the CPCTransformer, a Pipeline may have scikit-learn's StandardScaler, an
        :class:`AutoencoderReducer`, and at the end a :class:`LinearProbe` or scikit-learn's LogisticRegression.
    path : str or path-like
        Name of the file, for example ``"model.onnx"``.
    frames : {"z", "c"}, default=None
        Return the embeddings of all steps, as ``transform_frames`` of a CPCTransformer does for this layer.

    Raises
    ------
    TypeError
        If a step is of another class, or ``frames`` are asked of a Pipeline.
    ValueError
        If torch cannot export a module of your own, or the model does not compute what the estimator does.
    ImportError, NotFittedError, OSError
        If ``sklearn-cpc[onnx]`` is not installed, a step not fitted, or the file cannot be written.

    Warns
    -----
    UserWarning
        If the estimator has ``trim``, which is not part of the model.

    Notes
    -----
    The longest recording is what ``transform`` embeds in one clip: 20 times the ``clip_duration`` for "logmel" and
    poolings other than "context", else once. The model refuses longer ones, and returns NaN for less than half a
    step. Its metadata state ``min_samples``, ``max_samples``, ``sample_rate``, ``trim``, names and versions.

    Examples
    --------
    >>> from sklearn_cpc import export_onnx
    >>> export_onnx(cpc, "model.onnx")  # doctest: +SKIP
    """
    import_extra("onnxscript", "onnx")
    runtime = import_extra("onnxruntime", "onnx")
    path = os.path.realpath(os.fsdecode(path))
    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    cpc, *steps = [step for step in steps if step not in (None, "passthrough")] or [None]
    if type(cpc) is not CPCTransformer or not all(type(step) in MODULES for step in steps) or (frames and steps):
        came = " and ".join(type(step).__name__ for step in [cpc, *steps]) + (f" with {frames=}" if frames else "")
        known = ", ".join(kind.__name__ for kind in MODULES)
        raise TypeError(f"cannot export {came}; use a CPCTransformer or, without frames, a Pipeline with {known}.")
    check_is_fitted(cpc)
    check_is_fitted(estimator)
    if cpc.trim is not None and not frames:
        warn(
            f"trim={cpc.trim} is not part of the ONNX model: cut off silence at both ends before you call it, or "
            "fit with trim=None. set_params(trim=None) silences this warning."
        )
    graph = Graph(cpc, steps, frames)
    output = "frames" if frames else "probabilities" if is_classifier(graph.last) else "features"
    n_samples, longest = cpc.network_.n_samples, graph.shape.n_samples
    shortest = max(2, -(-longest // (2 * graph.shape.n_steps)))  # half a step
    metadata = {
        "sample_rate": cpc.sample_rate_,
        "min_samples": shortest,
        "max_samples": longest,
        "trim": None if frames else cpc.trim,
        "classes": graph.last.classes_.tolist() if output == "probabilities" else None,
        "feature_names": graph.last.get_feature_names_out().tolist() if output == "features" else None,
        "versions": library_versions(),
    }
    with warnings.catch_warnings(), standard_settings("cpu"):
        warnings.simplefilter("ignore")  # torch's exporter warns of its own parts
        program = trace(graph, min(n_samples, longest), (shortest, longest), output)
        program.model.metadata_props.update({name: json.dumps(value) for name, value in metadata.items()})
        data = program.model_proto.SerializeToString()
        session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
        for shape in ((3, min(n_samples, longest)), (1, max(shortest, n_samples * 2 // 3))):
            noise = np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)
            check_same(session, cpc, steps, frames, noise)
    write_file(path, data)


def trace(graph, n_samples, lengths, output):
    """Let torch turn the graph into an ONNX program for any batch, and recordings of a range of lengths."""
    logger = logging.getLogger("torch.onnx")  # it reports packages that it does without
    level = logger.level
    logger.setLevel(logging.ERROR)
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("n_samples", min=lengths[0], max=lengths[1])}
    options: dict = {"input_names": ["samples"], "output_names": [output], "dynamic_shapes": {"samples": sizes}}
    try:
        return torch.onnx.export(graph, (torch.zeros(2, n_samples - 1),), dynamo=True, verbose=False, **options)
    except Exception as error:  # torch has many for this
        kinds = {type(part) for part in graph.network.modules()}
        own = sorted(
            kind.__name__ for kind in kinds if kind.__module__.split(".")[0] not in ("torch", "sklearn_cpc")
        )
        raise ValueError(
            f"torch cannot export the network to ONNX. {ADVICE} Your own modules: {', '.join(own) or 'none'}. "
            f"Torch says: {error}"
        ) from error
    finally:
        logger.setLevel(level)


def check_same(session, cpc, steps, frames, samples):
    """Raise if the model does not compute what the steps do for samples of any length, without trim."""
    cpc = copy.copy(cpc).set_params(trim=None)
    vars(cpc).pop("n_features_in_", None)
    if frames:
        expected = np.stack([row.embeddings for row in cpc.transform_frames(samples, frames)])
    else:
        expected = np.asarray(cpc.transform(samples))
    for step in steps:
        expected = np.asarray(step.predict_proba(expected) if is_classifier(step) else step.transform(expected))
    try:
        (result,) = session.run(None, {"samples": samples})
        difference = np.abs(result - expected).max() if result.shape == expected.shape else np.inf
    except Exception as error:  # ONNX Runtime has its own
        result, difference = error, np.inf
    if not difference <= TOLERANCE * max(1, np.abs(expected).max()):
        came = f"differs by {difference:g}" if np.isfinite(difference) else f"is {result!r}"[:300]
        raise ValueError(
            "the ONNX model does not compute what the estimator does, so nothing was written: for samples of "
            f"shape {samples.shape}, its result {came}. {ADVICE}"
        )


class Standardization(nn.Module):
    """What a fitted StandardScaler computes."""

    def __init__(self, scaler):
        super().__init__()
        zeros = np.zeros(scaler.n_features_in_)
        self.register_buffer("mean", torch.from_numpy(zeros if scaler.mean_ is None else scaler.mean_))
        self.register_buffer("scale", torch.from_numpy(zeros + 1 if scaler.scale_ is None else scaler.scale_))

    def forward(self, rows):
        """Map (batch, n_features) to the same shape."""
        return (rows - self.mean) / self.scale


def logistic(classifier):
    """Return what a fitted LogisticRegression computes."""
    weights, bias = classifier.coef_, classifier.intercept_
    if len(classifier.classes_) == 2:  # it has the logit of the second class only
        weights, bias = np.vstack([0 * weights, weights]), np.append(0, bias)
    linear = nn.Linear(*weights.T.shape)
    linear.load_state_dict({"weight": torch.from_numpy(weights), "bias": torch.from_numpy(bias)})
    return nn.Sequential(linear, nn.Softmax(1))


# What may follow a CPCTransformer in a Pipeline, and the module that computes the same
MODULES = {
    StandardScaler: Standardization,
    AutoencoderReducer: lambda step: nn.Sequential(Standardization(step.scaler_), step.network_.encoder),
    LinearProbe: lambda step: nn.Sequential(Standardization(step.scaler_), step.network_, nn.Softmax(1)),
    LogisticRegression: logistic,
}


def thirds(steps):
    """Average (batch, n_steps, dim) over each third of the steps."""
    n_steps = steps.shape[1]
    start, step = torch.arange(N_THIRDS)[:, None] * n_steps, torch.arange(n_steps) * N_THIRDS
    inside = torch.minimum(step + N_THIRDS, start + n_steps) - torch.maximum(step, start)  # in thirds of a step
    weight = inside.clamp_min(0).to(steps.dtype)
    return (weight @ steps / weight.sum(1, keepdim=True)).flatten(1)


STATISTICS = {
    "context": lambda steps: steps[:, 0],
    "mean": lambda steps: steps.mean(1),
    "std": lambda steps: steps.std(1, correction=0),
    "max": lambda steps: steps.amax(1),
    "thirds": thirds,
}


class Graph(nn.Module):
    """All that is exported: recordings of one length, each as one clip, through the network and further steps."""

    zeros: torch.Tensor

    def __init__(self, cpc, steps, frames):
        super().__init__()
        self.network, self.frames, self.last = copy.deepcopy(cpc.network_), frames, [cpc, *steps][-1]
        for part in self.network.modules():
            part.for_onnx = True
        self.pooling = () if frames else cpc._check_pooling(self.network)
        self.layers = {frames} if frames else {POOLINGS[name].layer for name in self.pooling}
        self.shape = ClipShape.for_network(self.network)
        if frames or not cpc.n_clips:
            self.shape = self.shape.for_embedding(self.network, self.layers)
        self.steps = copy.deepcopy(nn.Sequential(*(MODULES[type(step)](step) for step in steps)))
        # Added to the result, at the number of steps: NaN for no step at all. There is no entry for a recording
        # that is too long, so that runtimes refuse it.
        self.register_buffer("zeros", torch.tensor([torch.nan] + [0.0] * self.shape.n_steps))
        self.cpu().float().eval().requires_grad_(False)

    def forward(self, samples):
        """Lay out clips as ClipShape does, embed and pool them, by formulas for sizes that torch can solve."""
        full, n_steps, unit = self.shape.n_samples, self.shape.n_steps, self.shape.samples_per_step
        n_valid = (2 * samples.shape[1] * n_steps + full) // (2 * full)
        clips = F.pad(samples, (0, unit // 2 + self.shape.lookahead * unit if unit else full))[:, :full]
        layers = self.network.layers(clips, torch.full(samples.shape[:1], n_valid), self.layers)
        layers = {name: steps if name == "context" else steps[:, :n_valid] for name, steps in layers.items()}
        if self.frames:
            return layers[self.frames] + self.zeros[n_valid]
        pooled = [STATISTICS[name.rpartition("_")[2]](layers[POOLINGS[name].layer]) for name in self.pooling]
        return self.steps(torch.cat(pooled, 1)) + self.zeros[n_valid]
