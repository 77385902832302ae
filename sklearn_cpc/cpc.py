"""CPCTransformer: features learned from recordings by Contrastive Predictive Coding."""

import functools

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ._parameters import check_cpc
from .audio.clips import names_of
from .audio.store import Source
from .nn.network import InfoNCELoss, build_network, sample_rate_of
from .nn.objective import check_option
from .nn.pooling import check_pooling, n_features
from .training import embedding
from .training.batches import ClipBatches, check_trainable, hold_out
from .training.checkpoint import Checkpoint
from .training.clip_geometry import ClipShape
from .training.device import in_precision_of, resolve_device, resolve_precision, seeded
from .training.embedding import Frames
from .training.estimator import FittedNetworkMixin, take_over, unchanged_on_error
from .training.loop import train
from .training.scoring import contrastive_accuracy


class CPCTransformer(FittedNetworkMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Features learned from your own recordings by Contrastive Predictive Coding (CPC).

    A clip is cut into steps; an encoder turns each into an embedding z; an autoregressor sums up the
    past in a context c; and from c the network learns to tell the embeddings of the next steps from
    those of other sounds (InfoNCE). No labels are used. Defaults are those of the report this package
    implements, a network for music at low rate; see the user guide for smaller ones.

    Parameters
    ----------
    encoder : {"conv1d", "conv2d", "logmel"}, recipe, nn.Module or callable, default="conv1d"
        Names stand for :class:`Conv1dEncoder`, :class:`Conv2dEncoder` and :class:`LogMelEncoder` with
        their defaults; pass a recipe to change its parameters, in a grid also as
        ``cpc__encoder__n_mels``. A module maps samples of shape (batch, n_samples) to
        (batch, n_context + n_future, z_dim); a callable is called with ``(n_samples, n_steps)`` and
        returns such a module. Both need an attribute ``sample_rate``, in Hz. A module handed in is
        copied, never trained itself.
    autoregressor : {"gru", "lstm", "causal_attention", "attention"}, recipe, nn.Module or callable, default="gru"
        Names stand for :class:`GRUContext`, :class:`LSTMContext`, :class:`CausalAttentionContext` and
        :class:`AttentionContext`. A module maps (batch, steps, z_dim) to (batch, steps, c_dim),
        causally, or to (batch, c_dim); a callable is called with ``(z_dim, n_context)``.
    clip_duration : float, default=4.0
        Length of a training clip in seconds (section 2.2.1). Recordings that are shorter are padded,
        and the padding is left out of negatives and pooling.
    trim : float, default=None
        Cut the silence at both ends off each recording: all that lies this many dB below its loudest
        20 ms, 40 for example. :meth:`transform_frames` keeps it. None: keep it.
    n_context : int, default=27
        Steps heard before the prediction, T (section 2.2.1).
    n_future : int, default=3
        Steps predicted, K (section 2.2.1).
    negatives : {"across", "within", "mixed"}, default="across"
        Where negatives come from: the other clips of the batch (section 2.2.1), the rest of the same
        clip, or both.
    n_across : int, default=None
        Negatives from other clips: this many windows, drawn anew for every batch. None: the same step of
        every other clip (section 2.2.1), ``batch_size - 1`` at most.
    similarity : {"dot", "cosine"}, default="dot"
        How predictions are compared with embeddings (section 2.2.5).
    temperature : float, default=None
        Divides the similarity. None: 1 for "dot", 0.1 for "cosine".
    step_weights : {"uniform", "linear"}, default="uniform"
        Weight of the future steps in the loss: equal, or the near future weighs more (section 4).
    predict_from : {"last", "all"}, default="last"
        Predict from the last step of the past alone (the report) or from every step (the paper).
    projection : int, default=None
        Size of a linear map of z that is predicted in place of z, so that the embeddings may hold more
        than what helps to predict. None: z itself (the report).
    augmentation : Augmentation, default=None
        Alters the past of every training clip, while the future to be predicted stays as it is; see
        :class:`Augmentation`. Doubles the cost of the encoder. None: off (the report).
    max_epochs : int, default=10
        Passes over the audio. 0 leaves the network untrained: the honest baseline. (The report's
        training heard each second of its audio about nine times.)
    batch_size : int, default=8
        Clips per batch, N (section 2.2.6).
    lr : float, default=1e-5
        Learning rate of Adam (section 2.2.6), meant for days of audio. Small corpora need 1e-4 to 1e-3.
    schedule : {"constant", "cosine"}, default="constant"
        Course of the learning rate over ``max_epochs``: constant (section 2.2.6), or a linear rise over
        the first tenth of the batches and half a cosine down to zero. ``partial_fit`` keeps it constant.
    validation_fraction : float, default=0.0
        Share of the recordings that is not trained on. After every epoch :meth:`score` is computed on
        them and recorded as ``valid_score``, for callbacks to stop early or keep the best epoch.
    pooling : str or tuple of str, default="context"
        What becomes of a row's steps: "context", the context after T steps, averaged over the clips
        (section 2.2.3); "z_mean", "z_std", "z_max", statistics over all steps, and "z_thirds", the means
        over its first, second and last third; the same for c and, where the encoder has mel bands, for
        "mel", these in dB, and "centred", these as its convolutions take them; or several of them,
        concatenated.
    n_clips : int, default=None
        Clips per row at transform, evenly spread (one: the middle). None: all of it, in clips of
        ``clip_duration`` or, where the encoder takes any number of steps ("logmel"), of 20 times that
        (but for "context").
    on_error : {"raise", "nan"}, default="raise"
        What to do with recordings that cannot be used: raise one error that lists them all, or train
        without them, fill their rows with NaN at transform, and warn.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Type of the forward pass in training; "auto" is bfloat16 where the processor computes in it
        natively. Embeddings are always computed in the type of the input.
    device : str or torch.device, default="auto"
        "auto" is a CUDA GPU if there is one, else the CPU.
    callbacks : list of skorch callbacks, default=None
        Early stopping, checkpoints and the like; they may monitor ``train_loss``, ``train_accuracy`` and,
        with a ``validation_fraction``, ``valid_score``. See also :class:`EmbeddingMonitor`.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the network of the last ``fit``.
    memory : str, path-like or joblib.Memory, default=None
        Directory for decoded recordings, shared by fits and processes; they stay on disk. A file that
        changes is noticed. None: recordings are decoded in every call of ``fit`` and ``transform``. What
        exceeds 1 GB (or the environment variable SKLEARN_CPC_RAM_GB) is in a temporary folder meanwhile.
    n_jobs : int, default=None
        Threads that decode recordings.
    checkpoint : str or path-like, default=None
        Directory in which ``fit`` keeps its state, for the next ``fit`` with the same parameters and recordings
        to go on from if this one is cut short: on one thread it ends with the same weights. Others are
        refused; so give every training its own, and none in a grid search. Needs an int as ``random_state``.
    checkpoint_every : int, default=1
        Epochs from one checkpoint to the next.
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
        future step, ``valid_score`` if there is one, and ``dur`` in seconds.
        ``pandas.DataFrame(history_)`` makes a table.
    n_iter_ : int
        Epochs trained.
    interrupted_ : bool
        Whether Ctrl-C or an error cut the training short: the network is as after its last finished epoch.
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

    _title = "CPC"

    def __init__(
        self,
        encoder="conv1d",
        autoregressor="gru",
        *,
        clip_duration=4.0,
        trim=None,
        n_context=27,
        n_future=3,
        negatives="across",
        n_across=None,
        similarity="dot",
        temperature=None,
        step_weights="uniform",
        predict_from="last",
        projection=None,
        augmentation=None,
        max_epochs=10,
        batch_size=8,
        lr=1e-5,
        schedule="constant",
        validation_fraction=0.0,
        pooling="context",
        n_clips=None,
        on_error="raise",
        precision="auto",
        device="auto",
        callbacks=None,
        warm_start=False,
        memory=None,
        n_jobs=None,
        checkpoint=None,
        checkpoint_every=1,
        random_state=None,
        verbose=0,
    ):
        self.encoder = encoder
        self.autoregressor = autoregressor
        self.clip_duration = clip_duration
        self.trim = trim
        self.n_context = n_context
        self.n_future = n_future
        self.negatives = negatives
        self.n_across = n_across
        self.similarity = similarity
        self.temperature = temperature
        self.step_weights = step_weights
        self.predict_from = predict_from
        self.projection = projection
        self.augmentation = augmentation
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.schedule = schedule
        self.validation_fraction = validation_fraction
        self.pooling = pooling
        self.n_clips = n_clips
        self.on_error = on_error
        self.precision = precision
        self.device = device
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.memory = memory
        self.n_jobs = n_jobs
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
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
        self._fit(X, self.warm_start, self.max_epochs, self.schedule)
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
        return self._embed(self._fit(X, self.warm_start, self.max_epochs, self.schedule))

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
        self._fit(X, go_on=True, max_epochs=1, schedule="constant")
        return self

    def transform(self, X):
        """Embed recordings: one row per element of X.

        An archive of any size is embedded part by part, in bounded memory, while the next part is decoded.

        Parameters
        ----------
        X : recordings or float array of shape (n_clips, n_samples)
            A path or clip may have any length: statistics are taken over all of its steps.

        Returns
        -------
        float ndarray of shape (n_rows, n_features)
            NaN in the rows of unusable recordings, with ``on_error="nan"``.
        """
        check_is_fitted(self, "network_")
        self._check()
        self._poolings(self.network_)
        return self._embed(Source(self, X, self.sample_rate_, reset=False))

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
        check_is_fitted(self, "network_")
        check_option("layer", layer, ("z", "c"))
        network, device = self._network(np.float32)
        if layer == "c" and network.single_context:
            raise ValueError(
                f"layer='c' needs a context at every step, but autoregressor={self.autoregressor!r} yields one "
                "per clip; use layer='z'."
            )
        source = Source(self, X, self.sample_rate_, reset=False)
        frames = [Frames(np.empty(0), np.empty((0, network.dims[layer]), np.float32))] * source.n_rows
        how = {"layer": layer, "sample_rate": self.sample_rate_, "batch_size": self._n_at_once, "device": device}
        for part in source.parts():
            for i in part.readable:
                frames[part.rows[i]] = embedding.frames(network, part.samples[i], self._clip_shape, **how)
        return frames

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
        recordings = Source(self, X, self.sample_rate_, reset=False).read()
        return self._score(recordings.usable(self.trim), *self._network(np.float32))

    def _fit(self, X, go_on, max_epochs, schedule):
        """Read X, build or take over the network, train it; returns the recordings."""
        self._check()
        resumable, go_on = not go_on, go_on and hasattr(self, "network_")
        device, random = resolve_device(self.device), self._generator(go_on)
        rate = sample_rate_of(self.encoder)
        clip = round(self.clip_duration * rate)
        sizes = clip, self.n_context, self.n_future
        with unchanged_on_error(self), seeded(random, device):
            augmentation = None if self.augmentation is None else self.augmentation(rate)
            options = self.predict_from, self.projection, augmentation
            network = build_network(self.encoder, self.autoregressor, *sizes, *options)
            self._poolings(network)
            if go_on:
                take_over(self, network)
            recordings = Source(self, X, rate, reset=not go_on).read()
            samples = recordings.usable(self.trim)
            shape = self._clip_shape = ClipShape.of(network.encoder, clip, self.n_context + self.n_future)
            if self.validation_fraction and not (go_on and hasattr(self, "_split_seed")):
                # Kept when training goes on: no recording is validated with that was trained on.
                self._split_seed = random.randint(np.iinfo(np.int32).max)
            checkpoint = Checkpoint.of(self, network, samples, random) if resumable else None
            names, rows = names_of(X, recordings.readable), list(range(len(samples)))
            rows, held_out = hold_out(rows, self.validation_fraction, getattr(self, "_split_seed", None))
            held_out, samples = [samples[row] for row in held_out], [samples[row] for row in rows]
            if max_epochs:
                check_trainable(samples, shape, self.batch_size, self.negatives)
            training = train(
                network,
                ClipBatches(samples, shape, self.batch_size, random, [names[row] for row in rows]),
                InfoNCELoss(
                    self.n_future,
                    negatives=self.negatives,
                    n_across=self.n_across,
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
                schedule=schedule,
                validate=(lambda module: self._score(held_out, module, device)) if held_out else None,
                checkpoint=checkpoint,
                embedder=lambda X: functools.partial(self._embed, Source(self, X, rate, reset=False).read()),
            )
        self.sample_rate_ = rate
        self._keep(network, training, random, go_on)
        return recordings

    def _embed(self, source, network=None):
        """Embed the rows of a Source, or of Recordings; NaN in those that cannot be used."""
        network, device = self._network(source.dtype, network)
        pooling = self._poolings(network)
        embeddings = np.full((source.n_rows, n_features(pooling, network.dims)), np.nan, source.dtype)
        for part in source.parts():
            embeddings[part.rows[part.readable]] = embedding.pool(
                network,
                part.usable(self.trim),
                self._clip_shape,
                pooling=pooling,
                n_clips=self.n_clips,
                batch_size=self._n_at_once,
                dtype=source.dtype,
                device=device,
            )
        return embeddings

    def _score(self, samples, network, device):
        """Contrastive accuracy of a network on recordings."""
        how = {"n_clips": self.n_clips, "batch_size": self._n_at_once, "device": device}
        return contrastive_accuracy(
            embedding.forecasts(network, samples, self._clip_shape, **how), self.similarity
        )

    def _network(self, dtype, network=None):
        """Return the network, or one in training, ready to embed input of a dtype, and its device."""
        device = resolve_device(self.device)
        return in_precision_of((network or self.network_).to(device).eval(), dtype), device

    @property
    def _n_candidates(self):
        """Windows that a prediction is told from, the true one included, for whole clips in full batches."""
        across = self.batch_size - 1 if self.n_across is None else self.n_across * (1 - 1 / self.batch_size)
        within = self.n_context + self.n_future - 1
        return round(1 + {"across": across, "within": within, "mixed": across + within}[self.negatives])

    @property
    def _n_at_once(self):
        return max(self.batch_size, 8)  # clips that are embedded together

    @property
    def _n_features_out(self):
        return n_features(self._poolings(self.network_), self.network_.dims)

    def __sklearn_tags__(self):
        """Say that X may hold strings (paths) and that float32 stays float32."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _check(self):
        check_cpc(self)

    def _poolings(self, network):
        """Return ``pooling`` as a tuple, or raise if the network has no such features."""
        return check_pooling(self.pooling, network, self.encoder, self.autoregressor)
