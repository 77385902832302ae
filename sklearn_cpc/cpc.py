"""CPCTransformer: features learned from recordings by Contrastive Predictive Coding."""

import warnings
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, check_scalar

from .audio.store import read_recordings
from .nn.batches import ClipBatches, clips_in_order
from .nn.loss import NEGATIVES, SIMILARITIES, STEP_WEIGHTS, check_option
from .nn.network import POOLINGS, PREDICT_FROM, InfoNCELoss, build_network, sample_rate_of
from .nn.scoring import contrastive_accuracy
from .nn.training import (
    PRECISIONS,
    FittedNetworkMixin,
    check_training_parameters,
    in_precision_of,
    resolve_device,
    resolve_precision,
    seeded,
    take_over,
    train,
    unchanged_on_error,
)


class Frames(NamedTuple):
    """Embeddings over time of one recording, from :meth:`CPCTransformer.transform_frames`.

    Attributes
    ----------
    times : float ndarray of shape (n_steps,)
        Centre of each step in seconds from the beginning of the recording or clip.
    embeddings : float ndarray of shape (n_steps, dim)
        Embedding of each step.
    """

    times: np.ndarray
    embeddings: np.ndarray


class CPCTransformer(FittedNetworkMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Features learned from your own recordings by Contrastive Predictive Coding (CPC).

    A clip is cut into steps; an encoder turns each into an embedding z; an autoregressor sums up the
    past in a context c; and from c the network learns to tell the embeddings of the next steps from
    those of other sounds (InfoNCE). No labels are used. Defaults are those of the report this package
    implements, a network for music at low rate; see the user guide for smaller ones.

    Parameters
    ----------
    encoder : {"conv1d", "conv2d"}, recipe, nn.Module or callable, default="conv1d"
        Names stand for :class:`Conv1dEncoder` and :class:`Conv2dEncoder` with their defaults; pass a
        recipe to change its parameters, in a grid also as ``cpc__encoder__n_mels``. A module maps
        samples of shape (batch, n_samples) to (batch, n_context + n_future, z_dim); a callable is
        called with ``(n_samples, n_steps)`` and returns such a module. Both need an attribute
        ``sample_rate``, in Hz. A module handed in is copied, never trained itself.
    autoregressor : {"gru", "attention"}, recipe, nn.Module or callable, default="gru"
        Names stand for :class:`GRUContext` and :class:`AttentionContext`. A module maps
        (batch, steps, z_dim) to (batch, steps, c_dim), causally, or to (batch, c_dim); a callable is
        called with ``(z_dim, n_context)``.
    clip_duration : float, default=4.0
        Length of a training clip in seconds (section 2.2.1). Recordings that are shorter are padded,
        and the padding is left out of negatives and pooling.
    n_context : int, default=27
        Steps heard before the prediction, T (section 2.2.1).
    n_future : int, default=3
        Steps predicted, K (section 2.2.1).
    negatives : {"across", "within", "mixed"}, default="across"
        Where negatives come from: the other clips of the batch (section 2.2.1), the rest of the same
        clip, or both.
    similarity : {"dot", "cosine"}, default="dot"
        How predictions are compared with embeddings (section 2.2.5).
    temperature : float, default=None
        Divides the similarity. None: 1 for "dot", 0.1 for "cosine".
    step_weights : {"uniform", "linear"}, default="uniform"
        Weight of the future steps in the loss: equal, or the near future weighs more (section 4).
    predict_from : {"last", "all"}, default="last"
        Predict from the last step of the past alone (the report) or from every step (the paper).
    max_epochs : int, default=10
        Passes over the audio. 0 leaves the network untrained: the honest baseline. (The report's
        training heard each second of its audio about nine times.)
    batch_size : int, default=8
        Clips per batch, N (section 2.2.6).
    lr : float, default=1e-5
        Learning rate of Adam (section 2.2.6), meant for days of audio. Small corpora need 1e-4 to 1e-3.
    pooling : str or tuple of str, default="context"
        What becomes of a clip's steps: "context", the context after T steps (section 2.2.3); "z_mean",
        "z_std", "z_max", "c_mean", "c_std", "c_max", statistics over all steps; or several of them,
        concatenated.
    n_clips : int, default=None
        Clips per row at transform, evenly spread (one: the middle) and averaged. None: as many as
        cover it.
    on_error : {"raise", "nan"}, default="raise"
        What to do with recordings that cannot be used: raise one error that lists them all, or train
        without them, fill their rows with NaN at transform, and warn.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Type of the forward pass in training; "auto" is bfloat16 where the processor computes in it
        natively. Embeddings are always computed in the type of the input.
    device : str or torch.device, default="auto"
        "auto" is a CUDA GPU if there is one, else the CPU.
    callbacks : list of skorch callbacks, default=None
        Early stopping, schedules and the like; they may monitor ``train_loss`` and ``train_accuracy``.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the network of the last ``fit``.
    memory : str, path-like or joblib.Memory, default=None
        Directory for decoded recordings, shared by fits and processes; they stay on disk and are mapped
        into memory while in use. A file that changes is noticed. None: recordings are decoded in every
        call of ``fit`` and ``transform`` and kept in RAM meanwhile.
    n_jobs : int, default=None
        Threads that decode recordings.
    random_state : int, RandomState instance or None, default=None
        Seeds weights, clips, order and dropout. Pass an int for the same result in every fit.
    verbose : int, default=0
        1 for progress bars.

    Attributes
    ----------
    network_ : nn.Module
        The network, with ``encoder``, ``autoregressor`` and ``predictor``.
    history_ : list of dict
        Per epoch: ``epoch``, ``train_loss``, ``train_accuracy``, ``train_accuracy_1`` and so on per
        future step, and ``dur`` in seconds. ``pandas.DataFrame(history_)`` makes a table.
    n_iter_ : int
        Epochs trained.
    sample_rate_ : int
        Rate in Hz at which recordings are read.
    n_features_in_ : int
        Samples per clip, when fitted on an array.

    See Also
    --------
    AutoencoderReducer : Reduces the features.
    LinearProbe : Tells how good they are.
    MFCCTransformer : Features that need no training, to compare with.

    Notes
    -----
    X, wherever it appears, is one of: a list, tuple, array or Series of paths; of clips
    ``(path, onset, duration)``, also as a DataFrame with columns of these names; or a float array of
    shape (n_clips, n_samples) already at the encoder's rate. float64 arrays are embedded in float64.

    Only ``random_state`` and the number of threads decide the result: the same of both repeats it bit
    for bit, and torch's global generator is left alone.

    References
    ----------
    A. van den Oord, Y. Li, O. Vinyals, "Representation Learning with Contrastive Predictive Coding",
    arXiv:1807.03748.

    J. Bajorath, M. Kang, M. Pink, "Building a framework for self-supervised audio representation
    learning with Contrastive Predictive Coding", 2021 ("the report").

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cpc import Conv1dEncoder, CPCTransformer
    >>> clips = np.random.default_rng(0).standard_normal((16, 2000)).astype("float32")
    >>> small = Conv1dEncoder(n_filters=8, dense_units=8, z_dim=8, sample_rate=1000)
    >>> cpc = CPCTransformer(small, clip_duration=2.0, n_context=3, n_future=1, max_epochs=1, random_state=0)
    >>> cpc.fit_transform(clips).shape
    (16, 512)
    """

    def __init__(
        self,
        encoder="conv1d",
        autoregressor="gru",
        *,
        clip_duration=4.0,
        n_context=27,
        n_future=3,
        negatives="across",
        similarity="dot",
        temperature=None,
        step_weights="uniform",
        predict_from="last",
        max_epochs=10,
        batch_size=8,
        lr=1e-5,
        pooling="context",
        n_clips=None,
        on_error="raise",
        precision="auto",
        device="auto",
        callbacks=None,
        warm_start=False,
        memory=None,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.encoder = encoder
        self.autoregressor = autoregressor
        self.clip_duration = clip_duration
        self.n_context = n_context
        self.n_future = n_future
        self.negatives = negatives
        self.similarity = similarity
        self.temperature = temperature
        self.step_weights = step_weights
        self.predict_from = predict_from
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.pooling = pooling
        self.n_clips = n_clips
        self.on_error = on_error
        self.precision = precision
        self.device = device
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.memory = memory
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y=None):
        """Train the network on recordings.

        Parameters
        ----------
        X : recordings or float array of shape (n_clips, n_samples)
            See the Notes of the class.
        y : ignored

        Returns
        -------
        self : CPCTransformer

        Raises
        ------
        ValueError, TypeError
            If a parameter, X or a recording cannot be used; raised before training starts. Recordings
            that cannot be read are listed together.
        """
        self._fit(X, go_on=self.warm_start)
        return self

    def fit_transform(self, X, y=None):
        """Train on recordings and return their embeddings; each is decoded once.

        Parameters
        ----------
        X : recordings or float array of shape (n_clips, n_samples)
        y : ignored

        Returns
        -------
        float ndarray of shape (n_rows, n_features)
        """
        return self._embed(self._fit(X, go_on=self.warm_start))

    def partial_fit(self, X, y=None):
        """Train for one epoch more, on these recordings, from where the last call stopped.

        Parameters
        ----------
        X : recordings or float array of shape (n_clips, n_samples)
        y : ignored

        Returns
        -------
        self : CPCTransformer
        """
        self._fit(X, go_on=True, max_epochs=1)
        return self

    def transform(self, X):
        """Embed recordings: one row per element of X.

        Parameters
        ----------
        X : recordings or float array of shape (n_clips, n_samples)
            A path or clip longer than ``clip_duration`` is the mean over its clips.

        Returns
        -------
        float ndarray of shape (n_rows, n_features)
            NaN in the rows of unusable recordings, with ``on_error="nan"``.
        """
        check_is_fitted(self, "network_")
        self._check()
        self._check_pooling(self.network_)
        return self._embed(read_recordings(self, X, self.sample_rate_, reset=False))

    def transform_frames(self, X, layer="z"):
        """Embed recordings over time: one embedding per step.

        Parameters
        ----------
        X : recordings or float array of shape (n_clips, n_samples)
        layer : {"z", "c"}, default="z"
            Embeddings of the steps themselves, or contexts, which start afresh with every
            ``clip_duration``.

        Returns
        -------
        list of Frames
            ``(times, embeddings)`` per row of X; empty for unusable recordings with ``on_error="nan"``.
        """
        check_is_fitted(self, "network_")
        check_option("layer", layer, ("z", "c"))
        network, device = self._network(np.float32)
        if layer == "c" and network.single_context:
            raise ValueError(
                f"layer='c' needs a context at every step, but autoregressor={self.autoregressor!r} yields one "
                "per clip; use layer='z'."
            )
        recordings = read_recordings(self, X, self.sample_rate_, reset=False)
        return [self._frames(samples, layer, network, device) for samples in recordings.samples]

    def score(self, X, y=None):
        """Contrastive accuracy on recordings: how well the future is told from other sounds.

        The task is the same whatever the network was trained with, so that a grid search can compare
        negatives, batch sizes and similarities: every prediction is judged against 15 windows of the
        same clip and 16 of other clips, drawn with a fixed seed. Higher is better; chance is 1/32. Steps
        of other lengths are other tasks: compare those by a probe.

        Parameters
        ----------
        X : recordings or float array of shape (n_clips, n_samples)
        y : ignored

        Returns
        -------
        float
            Share of predictions that score above all 31 negatives; NaN if no recording has two steps.
        """
        check_is_fitted(self, "network_")
        recordings = read_recordings(self, X, self.sample_rate_, reset=False)
        network, device = self._network(np.float32)
        samples = [recordings.samples[row] for row in recordings.readable]
        with torch.inference_mode():
            forecasts = [
                network(clips.to(device), n_valid.to(device))
                for clips, n_valid, _, _ in self._clips(samples, self.n_clips, np.float32)
            ]
        return contrastive_accuracy(forecasts, self.similarity)

    def _fit(self, X, go_on, max_epochs=None):
        """Read X, build or take over the network, train it; returns the recordings."""
        self._check()
        go_on = go_on and hasattr(self, "network_")
        max_epochs = self.max_epochs if max_epochs is None else max_epochs
        device, random = resolve_device(self.device), self._generator(go_on)
        rate = sample_rate_of(self.encoder)
        clip = round(self.clip_duration * rate)
        shape = clip, self.n_context, self.n_future, self.predict_from
        with unchanged_on_error(self), seeded(random, device):
            network = build_network(self.encoder, self.autoregressor, *shape)
            self._check_pooling(network)
            if go_on:
                take_over(self, network)
            recordings = read_recordings(self, X, rate, reset=not go_on)
            samples = [recordings.samples[row] for row in recordings.readable]
            if max_epochs:
                self._check_trainable(samples, clip)
            history, optimizer_state = train(
                network,
                ClipBatches(samples, clip, self.n_context + self.n_future, self.batch_size, random),
                InfoNCELoss(
                    self.n_future,
                    negatives=self.negatives,
                    similarity=self.similarity,
                    temperature=self.temperature,
                    step_weights=self.step_weights,
                ),
                max_epochs=max_epochs,
                lr=self.lr,
                device=device,
                precision=resolve_precision(self.precision, device),
                callbacks=self.callbacks,
                verbose=self.verbose,
                title="CPC",
                optimizer_state=self._optimizer_state if go_on else None,
            )
        self._keep(network, history, optimizer_state, random, go_on)
        self.sample_rate_, self._clip_samples = rate, clip
        return recordings

    def _embed(self, recordings):
        """Mean embedding over the clips of each recording."""
        network, device = self._network(recordings.dtype)
        pooling = self._check_pooling(network)
        readable = recordings.readable
        total = np.zeros((len(readable), self._n_features_out))
        count = np.zeros(len(readable))
        samples = [recordings.samples[row] for row in readable]
        with torch.inference_mode():
            for clips, n_valid, rows, _ in self._clips(samples, self.n_clips, recordings.dtype):
                pooled = network.embed(clips.to(device), n_valid.to(device), pooling)
                np.add.at(total, rows, pooled.cpu().numpy())
                np.add.at(count, rows, 1)
        embeddings = np.full((len(recordings.samples), self._n_features_out), np.nan, recordings.dtype)
        embeddings[readable] = total / count[:, None]
        return embeddings

    def _frames(self, samples, layer, network, device):
        """Frames of one recording, from clips laid end to end."""
        clip, n_steps = self._clip_samples, network.n_context + network.n_future
        times, embeddings = [np.empty(0)], [np.empty((0, network.dims[layer]), np.float32)]
        starts = range(0)
        if samples is not None:  # a last piece that does not fill half a step is left out
            starts = range(0, max(1, len(samples) - clip // (2 * n_steps)), clip)
        pieces = [samples[start : start + clip] for start in starts]
        with torch.inference_mode():
            for clips, n_valid, rows, _ in self._clips(pieces, 1, np.float32):
                frames = network.frames(clips.to(device), layer).cpu().numpy()
                for row, n, steps in zip(rows, n_valid.tolist(), frames, strict=True):
                    step = np.arange(n) + 0.5
                    times.append((row + step / n_steps) * clip / self.sample_rate_)
                    embeddings.append(steps[:n])
        return Frames(np.concatenate(times), np.concatenate(embeddings))

    def _clips(self, samples, n_clips, dtype):
        n_steps = self.network_.n_context + self.network_.n_future
        return clips_in_order(samples, self._clip_samples, n_steps, n_clips, max(self.batch_size, 16), dtype)

    def _network(self, dtype):
        """Return the network ready to embed input of a dtype, and its device."""
        device = resolve_device(self.device)
        return in_precision_of(self.network_.to(device), dtype), device

    @property
    def _n_features_out(self):
        pooling = (self.pooling,) if isinstance(self.pooling, str) else self.pooling
        return sum(self.network_.dims[pool[0]] for pool in pooling)

    def __sklearn_tags__(self):
        """Say that X may hold strings (paths) and that float32 stays float32."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _check(self):
        check_training_parameters(self)
        check_scalar(
            self.clip_duration, "clip_duration", Real, min_val=0, max_val=np.inf, include_boundaries="neither"
        )
        check_scalar(self.n_context, "n_context", Integral, min_val=1)
        check_scalar(self.n_future, "n_future", Integral, min_val=1)
        if self.n_clips is not None:
            check_scalar(self.n_clips, "n_clips", Integral, min_val=1)
        if self.temperature is not None:
            check_scalar(self.temperature, "temperature", Real, min_val=0, include_boundaries="neither")
        check_option("negatives", self.negatives, NEGATIVES)
        check_option("similarity", self.similarity, SIMILARITIES)
        check_option("step_weights", self.step_weights, STEP_WEIGHTS)
        check_option("predict_from", self.predict_from, PREDICT_FROM)
        check_option("precision", self.precision, PRECISIONS)

    def _check_pooling(self, network):
        """Return ``pooling`` as a tuple, or raise if the network has no such features."""
        pooling = (self.pooling,) if isinstance(self.pooling, str) else self.pooling
        if not isinstance(pooling, (tuple, list)):
            raise TypeError(f"pooling={pooling!r} must be a str or a tuple of str, of {', '.join(POOLINGS)}.")
        for pool in pooling:
            check_option("pooling", pool, tuple(POOLINGS))
            if network.single_context and pool.startswith("c_"):
                raise ValueError(
                    f"pooling={pool!r} needs a context at every step, but autoregressor={self.autoregressor!r} "
                    "yields one per clip; use 'context' or statistics of z."
                )
        if not pooling:
            raise ValueError(f"pooling={self.pooling!r} is empty; name at least one of {', '.join(POOLINGS)}.")
        return pooling

    def _check_trainable(self, samples, clip):
        """Raise if the objective would have no positive or no negative in all of the corpus."""
        n_clips = sum(max(1, len(recording) // clip) for recording in samples)
        if self.negatives == "across" and min(n_clips, self.batch_size) < 2:
            raise ValueError(
                f"negatives='across' needs other clips in each batch, got n_samples={len(samples)} of {n_clips} "
                f"clip(s) in all and batch_size={self.batch_size}; give at least 2 clips and a batch_size of at "
                "least 2, or use negatives='within'."
            )
        window = clip / (self.n_context + self.n_future)
        longest = max(map(len, samples))
        if round(longest / window) < 2:
            raise ValueError(
                f"the longest recording has n_features={longest} samples, less than two windows of {window:g}, so "
                "there is nothing to predict; use a shorter clip_duration or more steps."
            )
        typical = np.median([len(recording) for recording in samples])
        if typical < clip / 2:
            warnings.warn(
                f"half of the recordings fill no more than {typical / clip:.0%} of a clip, the rest is padding; a "
                f"clip_duration shorter than {self.clip_duration:g} s learns more from them.",
                stacklevel=4,
            )
