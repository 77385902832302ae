"""CPCTransformer: features learned from recordings by Contrastive Predictive Coding."""

import functools
import os
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Annotated, Any, ClassVar

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from ._constraints import ON_ERROR, POSITIVE, SHARE, Each, Flag, Jobs, Memory, RandomState, Verbose, integers
from ._ranks import run_once
from .audio.store import AudioSource
from .nn.augmentation import Augmentation
from .nn.network import AUTOREGRESSORS, ENCODERS, OBJECTIVES, build_network, get_sample_rate, resolve_recipe
from .nn.objective import InfoNCE
from .nn.pooling import POOLINGS, check_pooling, n_features
from .training.batches import ClipBatches, check_trainable, hold_out, warn_if_short
from .training.checkpoint import Checkpoint, check_resumable, make_checkpoint
from .training.clip_geometry import ClipShape
from .training.device import match_input, resolve_device, resolve_precision
from .training.embedding import Frames, embed_frames, embed_source, score_recordings
from .training.estimator import EPOCHS, BatchSize, Callbacks, Device, LearningRate, NetworkEstimator, Task
from .training.schedules import SCHEDULES, choose_epochs

POOLING = StrOptions(set(POOLINGS))


@dataclass(repr=False, eq=False)
class CPCTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, NetworkEstimator):
    """Features learned from your own recordings by Contrastive Predictive Coding (CPC).

    A clip is cut into steps. An encoder turns each step into an embedding z. An autoregressor summarises the
    past in a context c. From c, the network learns to tell the embeddings of the next steps from those of
    other sounds (InfoNCE). No labels are used. Defaults are those of the report that this package
    implements, a network for music at a low rate; :func:`make_cpc` has smaller ones.

    Parameters
    ----------
    encoder : {"conv1d", "conv2d", "logmel"}, recipe, nn.Module or callable, default="conv1d"
        Names stand for :class:`Conv1dEncoder`, :class:`Conv2dEncoder` and :class:`LogMelEncoder` with their
        defaults; a recipe has parameters, in a grid ``cpc__encoder__n_mels``. A module maps samples of shape
        (batch, n_samples) to (batch, n_context + n_future, z_dim); a callable takes ``(n_samples, n_steps)`` and
        returns such a module. Both need an attribute ``sample_rate``, in Hz. Modules are copied before training.
    autoregressor : {"gru", "lstm", "causal_attention", "attention"}, recipe, nn.Module or callable, default="gru"
        Names stand for :class:`GRUContext`, :class:`LSTMContext`, :class:`CausalAttentionContext` and
        :class:`AttentionContext`. A module maps (batch, steps, z_dim) to (batch, steps, c_dim),
        causally, or to (batch, c_dim); a callable takes ``(z_dim, n_context)`` and returns one.
    clip_duration : float, default=4.0
        Length of a training clip in seconds (section 2.2.1). Recordings that are shorter are padded,
        and the padding is left out of negatives and pooling.
    trim : float, default=None
        Cut off the silence at both ends of each recording: everything this many dB below its loudest
        40 ms, 40 for example. :meth:`transform_frames` keeps the silence. None: keep it.
    n_context : int, default=27
        Steps heard before the prediction, T (section 2.2.1).
    n_future : int, default=3
        Steps predicted, K (section 2.2.1).
    objective : {"info_nce"}, InfoNCE, default="info_nce"
        What the network learns; see :class:`InfoNCE` for negatives, similarity, temperature, step weights, which
        positions predict, and projection. The name stands for the report's objective.
    augmentation : Augmentation, default=None
        Alters the past of training clips, not the future to be predicted; doubles the cost of the encoder.
        None: off (the report).
    max_epochs : int or "auto", default=10
        Passes over the audio (about nine in the report). 0 leaves the network untrained, as a baseline. "auto":
        as many as 500 updates of the weights take, between 12 and 50, so that little sound is heard more often.
    batch_size : int, default=8
        Clips per batch, N (section 2.2.6).
    lr : float, default=1e-5
        Learning rate of Adam (section 2.2.6), meant for days of audio. Small corpora need 1e-4 to 1e-3.
    schedule : {"constant", "cosine"}, default="constant"
        Course of the learning rate: constant (section 2.2.6), or a linear rise over the first tenth of the
        batches and half a cosine to zero. ``partial_fit`` keeps it constant.
    validation_fraction : float, default=0.0
        Share of the recordings, or of the groups of ``fit``, to hold out. After every epoch, :meth:`score` is
        computed on them and recorded as ``valid_score`` (NaN without any), to stop early or keep the best epoch.
    pooling : str or tuple of str, default="context"
        The features of a row, made from its steps. "context": the context after T steps, averaged over the
        clips (section 2.2.3). "z_mean", "z_std", "z_max": statistics over all steps. "z_thirds": the means
        over the first, second and last third. The same exists for c and, if the encoder has mel bands, for
        "mel" (in dB) and "centred" (as the convolutions take them). Several are concatenated.
    n_clips : int, default=None
        Clips per row at transform, evenly spread; a single clip is in the middle. None: all of the row, in clips
        of ``clip_duration`` or, for "logmel" and poolings other than "context", of 20 times that.
    on_error : {"raise", "nan"} or callable, default="raise"
        What to do with recordings that cannot be used: raise one error that lists them all, or train
        without them, fill their rows with NaN at transform, and warn. A callable gets a dict of the reasons by
        path, in place of the warning.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Type of the forward pass in training; "auto" is bfloat16 where the processor computes in it natively.
        Embeddings always have the type of the input.
    device : str or torch.device, default="auto"
        "auto" is a CUDA GPU if there is one, else the CPU.
    callbacks : list of skorch callbacks, default=None
        Early stopping and the like; they may monitor ``train_loss``, ``train_accuracy`` and,
        with a ``validation_fraction``, ``valid_score``. See also :class:`EmbeddingMonitor`.
    warm_start : bool, default=False
        Whether ``fit`` continues from the network of the last ``fit``.
    distributed : bool, default=False
        Share the training with the processes that ``torch.distributed.run`` started: each computes its part of
        every batch, and all end with the same network. See the page on this in the user guide.
    memory : str, path-like or joblib.Memory, default=None
        Directory for decoded recordings, for later fits and other processes. A file that changes is decoded
        again. None: every call of ``fit`` and ``transform`` decodes the recordings, and keeps up to 1 GB of
        them in RAM (environment variable SKLEARN_CPC_RAM_GB), the rest in a temporary folder.
    n_jobs : int, default=None
        Threads that decode recordings.
    checkpoint : str, path-like or Checkpoint, default=None
        Directory in which ``fit`` keeps its state, in a folder for each training, so grid searches may use it too.
        After a stop, the next ``fit`` with the same parameters and recordings resumes; a training that has ended
        is not repeated. With others, ``fit`` starts afresh, and warns after a minute if another training was
        stopped there or differs in ``max_epochs`` alone. Folders stay: delete the directory when you are done.
        :class:`Checkpoint` sets how often it is written. Needs an int as ``random_state``.
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
        future step, ``valid_score`` if there is one, ``dur`` in seconds, and ``n_rows`` of X trained on, which are
        ``seconds`` of sound.
    n_iter_ : int
        Epochs trained.
    interrupted_ : bool
        Whether Ctrl-C or an error stopped the training early. The network is that of the last finished epoch.
    sample_rate_ : int
        Rate in Hz at which recordings are read.
    n_features_in_ : int
        Samples per clip, when fitted on an array.

    See Also
    --------
    AutoencoderReducer : Reduces the features.
    LinearProbe : Shows how good they are.
    MFCCTransformer : Features that need no training, to compare with.

    Notes
    -----
    X, wherever it appears, is one of: a list, tuple, array or Series of paths; of clips
    ``(path, onset, duration)``, also as a DataFrame with columns of these names; or a float array of
    shape (n_clips, n_samples) already at the encoder's rate. float64 arrays are embedded in float64. With the
    same ``random_state`` and number of threads, results repeat bit for bit.

    References
    ----------
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

    # Names are checked by resolve_recipe, whose error says what else will do.
    encoder: Annotated[Any, str, callable] = "conv1d"
    autoregressor: Annotated[Any, str, callable] = "gru"
    _: KW_ONLY
    clip_duration: Annotated[float, Interval(Real, 0, 24 * 3600, closed="right")] = 4.0
    trim: Annotated[float | None, POSITIVE, None] = None
    n_context: Annotated[int, integers(1, 2**20)] = 27
    n_future: Annotated[int, integers(1, 2**12)] = 3
    objective: Annotated[Any, StrOptions(set(OBJECTIVES)), InfoNCE] = "info_nce"
    augmentation: Annotated[Augmentation | None, Augmentation, None] = None
    max_epochs: Annotated[int | str, EPOCHS, StrOptions({"auto"})] = 10
    batch_size: BatchSize = 8
    lr: LearningRate = 1e-5
    schedule: Annotated[str, StrOptions(set(SCHEDULES))] = "constant"
    validation_fraction: Annotated[float, SHARE] = 0.0
    pooling: Annotated[str | Sequence[str], POOLING, Each(POOLING)] = "context"
    n_clips: Annotated[int | None, integers(1, 2**20), None] = None
    on_error: Annotated[Any, ON_ERROR, callable] = "raise"
    precision: Annotated[str, StrOptions({"auto", "float32", "bfloat16"})] = "auto"
    device: Device = "auto"
    callbacks: Callbacks = None
    warm_start: Flag = False
    distributed: Flag = False
    memory: Memory = None
    n_jobs: Jobs = None
    checkpoint: Annotated[Any, str, os.PathLike, Checkpoint, None] = None
    random_state: RandomState = None
    verbose: Verbose = 0

    _title = "CPC"
    __metadata_request__fit: ClassVar[dict] = {"groups": False}  # pipelines route them only if asked to
    _recipes: ClassVar[dict] = {"encoder": ENCODERS, "autoregressor": AUTOREGRESSORS, "objective": OBJECTIVES}

    def fit(self, X, y=None, groups=None):
        """Train the network.

        Parameters
        ----------
        X : recordings or float array of shape (n_clips, n_samples)
        y : ignored
        groups : array-like of shape (n_rows,), default=None
            Groups, such as places or days, that ``validation_fraction`` does not split. In a pipeline or grid
            search, ask for them by ``set_fit_request(groups=True)``.

        Returns
        -------
        self : CPCTransformer

        Raises
        ------
        ValueError, TypeError
            If a parameter, X or groups cannot be used; raised before training starts.
        """
        self._train(X, y, groups=groups)
        return self

    def fit_transform(self, X, y=None, groups=None):
        """Train on recordings and return their embeddings; each is decoded once.

        Parameters
        ----------
        X, y, groups
            As in :meth:`fit`.

        Returns
        -------
        float ndarray of shape (n_rows, n_features)
        """
        return self._embed(self._train(X, y, groups=groups).recordings)

    def transform(self, X):
        """Embed recordings: one row per element of X.

        Memory is bounded, however large the archive: the next chunk is decoded while one is embedded.

        Parameters
        ----------
        X : recordings or float array of shape (n_clips, n_samples)

        Returns
        -------
        float ndarray of shape (n_rows, n_features)
            NaN in the rows of unusable recordings, with ``on_error="nan"``.
        """
        return self._embed(self._open(X))

    def transform_frames(self, X, layer="z"):
        """Embed recordings over time: one embedding per step.

        Parameters
        ----------
        X : recordings or float array of shape (n_clips, n_samples)
        layer : {"z", "c"}, default="z"
            Embeddings of the steps themselves, or contexts, which start afresh with every
            ``clip_duration``, or 20 times that where the encoder takes any number of steps.

        Returns
        -------
        list of Frames
            ``(times, embeddings)`` per row of X; empty for unusable recordings with ``on_error="nan"``.
        """
        source = self._open(X)
        if layer not in ("z", "c"):
            raise ValueError(f"layer={layer!r} is unknown; use 'z' or 'c'.")
        if layer == "c" and self.network_.single_context:
            came = f"autoregressor={self.autoregressor!r} yields one per clip"
            raise ValueError(f"layer='c' needs a context at every step, but {came}; use layer='z'.")
        network, how = self._prepare_network(source.dtype)
        frames = [Frames(np.empty(0), np.empty((0, network.dims[layer]), source.dtype))] * source.n_rows
        for chunk in source.chunks():
            for i in chunk.readable:
                samples = chunk.samples[i]
                frames[chunk.rows[i]] = embed_frames(network, samples, layer=layer, dtype=source.dtype, **how)
        return frames

    def score(self, X, y=None):
        """Contrastive accuracy on recordings: how well the network tells the future from other sounds.

        Every prediction is judged against 15 windows of the same clip and 16 of other clips; chance is 1/32. The
        score finds failed trainings, but ranks others unreliably (see "Without any labels" in the guide).

        Parameters
        ----------
        X : recordings or float array of shape (n_clips, n_samples)
        y : ignored

        Returns
        -------
        float
            Share of predictions that score above all 31 negatives; NaN if no recording has two steps.
        """
        return self._score(self._open(X).read().trimmed(self.trim))

    def _open(self, X):
        """Return the source of X, for a fitted network."""
        check_is_fitted(self, "network_")
        self._validate_params()
        return AudioSource(self, X, self.sample_rate_, reset=False)

    def _build_network(self):
        rate = get_sample_rate(self.encoder)
        return build_network(
            self.encoder,
            self.autoregressor,
            self._objective,
            n_samples=round(self.clip_duration * rate),
            n_context=self.n_context,
            n_future=self.n_future,
            augmentation=None if self.augmentation is None else self.augmentation(rate),
        )

    def _plan(self, X, y, random, partial, resume, groups=None):
        check_resumable(self)
        if groups is not None:
            check_consistent_length(X, groups)
            groups = column_or_1d(check_array(groups, ensure_2d=False, dtype=None, input_name="groups"))
        network = self._start_network(resume)
        self._check_pooling(network)
        rate, shape, device = network.sample_rate, ClipShape.for_network(network), resolve_device(self.device)
        source = AudioSource(self, X, rate, reset=not resume)
        recordings = source.read()
        samples, rows = recordings.trimmed(self.trim), recordings.readable
        names = [source.clips[row].path if source.clips else recordings.samples[row] for row in rows]
        held_out = hold_out(self, names, random, resume, None if groups is None else groups[rows])
        train, valid = ([samples[i] for i in np.flatnonzero(part)] for part in (~held_out, held_out))
        if partial or self.max_epochs:
            check_trainable(train, shape, self.batch_size, self._objective.negatives)
        sounds = [*train, np.empty(0), *valid]  # another training holds others out
        options = {
            "precision": resolve_precision(self.precision, device),
            "schedule": "constant" if partial else self.schedule,
            "validate": (lambda net: run_once(lambda: self._score(valid, net)))
            if self.validation_fraction
            else None,
            "embedder": lambda X: functools.partial(self._embed, AudioSource(self, X, rate, reset=False).read()),
            "checkpoint": None if partial else make_checkpoint(self, network, sounds, random),
        }
        names = [recordings.names[row] for row in rows[~held_out]]
        batches = ClipBatches(train, shape, self.batch_size, random, names, device)
        if self.max_epochs == "auto" and not partial:
            options["max_epochs"] = choose_epochs(batches.n_batches)
            warn_if_short(train, rate)
        facts = {"n_rows": len(train), "seconds": sum(map(len, train)) / rate}
        return Task(network, batches, self._objective(self.n_future), options, recordings, facts)

    def _check_pooling(self, network):
        """Return ``pooling`` as a tuple, or raise if the network has no such features."""
        return check_pooling(self.pooling, network, self.encoder, self.autoregressor)

    def _embed(self, source, network=None):
        network, how = self._prepare_network(source.dtype, network)
        pooling = self._check_pooling(network)
        return embed_source(network, source, trim=self.trim, pooling=pooling, n_clips=self.n_clips, **how)

    def _score(self, samples, network=None):
        """Contrastive accuracy of the network, or of one in training, on recordings."""
        network, how = self._prepare_network(np.float32, network)
        similarity = self._objective.similarity
        return score_recordings(network, samples, similarity=similarity, n_clips=self.n_clips, **how)

    def _prepare_network(self, dtype, network=None):
        """Return the network, or one in training, ready for input of a dtype, and how to embed with it."""
        device = resolve_device(self.device)
        network = match_input(network or self.network_, dtype, device)
        return network, {"batch_size": max(self.batch_size, 8), "device": device}

    @property
    def sample_rate_(self):
        """Rate in Hz at which recordings are read."""
        return self.network_.sample_rate

    @property
    def _objective(self):
        objective = resolve_recipe("objective", self.objective, OBJECTIVES)
        objective._validate_params()
        return objective

    @property
    def _n_candidates(self):
        return self._objective.n_candidates(self.batch_size, self.n_context + self.n_future)

    @property
    def _n_features_out(self):
        self._validate_params()
        return n_features(self._check_pooling(self.network_), self.network_.dims)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        return tags
