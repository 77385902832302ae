"""RecordingDisplay: one recording over time, as sound and as embeddings."""

import copy

import numpy as np
from sklearn.utils.validation import check_array, check_is_fitted

from .._constraints import POSITIVE, check_parameters
from .._librosa import import_librosa
from .._pipelines import find_nested
from ..audio.clips import holds_path
from ..audio.files import base_name
from ..audio.samples import as_samples, name_types, scale_to_full_scale
from ..audio.store import AudioSource
from ._drawing import COLOURS, PLAIN, add_beside, make_panels

WINDOW = 0.064  # seconds per window of the spectrogram, rounded to a power of two in samples
N_MELS = 80
N_COLUMNS = 4000  # of the waveform and the spectrogram at most: more than a page has pixels
DYNAMIC_RANGE = 80.0  # dB of the spectrogram
MIN_POWER = 1e-6  # full scale of a spectrogram that is softer than this, so that silence is dark
TICKS = (20000, 10000, 5000, 2000, 1000, 500, 200, 100, 50)  # Hz, drawn where there is room
TITLES = {"z": "z (embedding)", "c": "c (context)"}


class RecordingDisplay:
    """One recording over time: waveform, mel spectrogram, and the embeddings z and contexts c of every step.

    This shows what a network reacts to, and for how long its contexts remember it. Each line of a layer's image
    is one dimension, standardised over the recording. Dimensions are sorted by their weight in the first
    principal component, so that similar ones are neighbours and those that follow the loudness are on top.
    Create a display with :meth:`from_estimator` or :meth:`from_frames`.

    Parameters
    ----------
    samples : float ndarray of shape (n_samples,)
        The recording.
    sample_rate : int
        Samples per second, in Hz.
    layers : dict of {str: Frames}, default=None
        Embeddings over time by name: each is ``(times, embeddings)``, in seconds from the first sample, as
        from :meth:`CPCTransformer.transform_frames`. None: only the sound is drawn.
    onset : float, default=0.0
        Start of the recording within its file, in seconds. The time axis begins here.
    name : str, default=None
        Title. None: no title.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Axes that contain all panels and their figure, after plotting.
    axes_ : dict of {str: matplotlib Axes}
        The panels: "waveform", "mel" and one for each layer.
    images_ : dict of {str: matplotlib AxesImage}
        The images of "mel" and of each layer.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cpc.displays import RecordingDisplay
    >>> random = np.random.default_rng(0)
    >>> samples, frames = random.standard_normal(8000), (np.arange(0.05, 1, 0.1), random.standard_normal((10, 16)))
    >>> display = RecordingDisplay.from_frames(samples, 8000, {"z": frames})
    >>> list(display.axes_)
    ['waveform', 'mel', 'z']
    """

    def __init__(self, samples, sample_rate, layers=None, *, onset=0.0, name=None):
        self.samples = samples
        self.sample_rate = sample_rate
        self.layers = layers
        self.onset = onset
        self.name = name

    def plot(self, *, ax=None, cmap="magma", layer_cmap="RdBu_r"):
        """Draw the recording.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of Axes, default=None
            One Axes into which all panels are laid out, or one Axes per panel. None: a new figure.
        cmap : str or matplotlib Colormap, default="magma"
            Colours of the spectrogram, for the 80 dB below its maximum.
        layer_cmap : str or matplotlib Colormap, default="RdBu_r"
            Colours of the layers, centred at the mean of each dimension. Their range covers 98 % of the values,
            and at least one standard deviation.

        Returns
        -------
        display : RecordingDisplay
        """
        layers = self.layers or {}
        heights = [1.0, 1.6, *[1.6] * len(layers)]
        cells = [(row, 0) for row in range(len(heights))]
        figsize = 9.0, 1.1 * sum(heights) + 0.8
        self.ax_, panels = make_panels(ax, cells, figsize=figsize, height_ratios=heights, sharex=True)
        self.figure_ = self.ax_.figure
        self.axes_ = dict(zip(["waveform", "mel", *layers], panels, strict=True))
        self._draw_waveform(self.axes_["waveform"])
        self.images_ = {"mel": self._draw_mel(self.axes_["mel"], cmap)}
        for name, frames in layers.items():
            self.images_[name] = self._draw_layer(self.axes_[name], name, frames, layer_cmap)
        for panel in panels:
            panel.set_xlim(self.onset, self.onset + len(self.samples) / self.sample_rate)
            panel.tick_params(labelbottom=panel is panels[-1])
        panels[-1].set_xlabel("time (s)")
        panels[0].set_title(self.name or "", **PLAIN)
        return self

    @classmethod
    def from_estimator(cls, estimator, recording, *, name=None, **plot_kw):
        """Embed a recording with a fitted network, step by step, and draw it.

        Parameters
        ----------
        estimator : fitted CPCTransformer or Pipeline with one
            A network with one context per clip ("attention") has no panel of contexts.
        recording : path, Clip or float array of shape (n_samples,)
            Samples must have the rate of the network and, if it was fitted on an array, the length of its rows.
            The time axis of a clip shows its position in the file.
        name : str, default=None
            Title. None: the name of the file.
        **plot_kw : parameters of :meth:`plot`

        Returns
        -------
        display : RecordingDisplay

        Raises
        ------
        NotFittedError, TypeError, ValueError
            If the estimator is not fitted or does not embed over time, or the recording cannot be read.
        """
        check_is_fitted(estimator)
        networks = find_nested(estimator, lambda part: hasattr(part, "transform_frames"))
        if not networks:
            raise TypeError(
                f"{type(estimator).__name__} has no transform_frames, so it does not embed over time; pass a "
                "CPCTransformer or a Pipeline with one."
            )
        cpc = copy.copy(networks[0]).set_params(on_error="raise")  # there is nothing else to draw
        X = [recording] if holds_path(recording) else check_samples(recording)[None]
        source = AudioSource(cpc, X, cpc.sample_rate_, reset=False)
        (samples,) = source.read().samples
        layers = ["z"] if cpc.network_.single_context else ["z", "c"]
        frames = {layer: cpc.transform_frames(X, layer)[0] for layer in layers}
        onset = 0.0
        if source.clips:
            onset = source.clips[0].onset
            name = base_name(source.clips[0].path) if name is None else name
        return cls.from_frames(np.asarray(samples), cpc.sample_rate_, frames, onset=onset, name=name, **plot_kw)

    @classmethod
    @check_parameters(sample_rate=[POSITIVE])
    def from_frames(cls, samples, sample_rate, frames=None, *, onset=0.0, name=None, **plot_kw):
        """Draw a recording with embeddings over time from any source.

        Parameters
        ----------
        samples, sample_rate, onset, name
            See :class:`RecordingDisplay`.
        frames : dict of {str: Frames}, default=None
            As ``layers``, for example ``{"z": cpc.transform_frames([path])[0]}``, with steps of equal length.
        **plot_kw : parameters of :meth:`plot`

        Returns
        -------
        display : RecordingDisplay

        Raises
        ------
        ValueError
            If the recording is empty or holds NaN, times and embeddings do not match, or steps differ in length.
        """
        samples = check_samples(samples)
        layers = {str(layer): _check_frames(layer, *pair) for layer, pair in (frames or {}).items()}
        return cls(samples, sample_rate, layers, onset=onset, name=name).plot(**plot_kw)

    def _draw_waveform(self, panel):
        """Draw the samples or, of long recordings, their range in each column."""
        hop = -(-len(self.samples) // N_COLUMNS)
        starts = np.arange(0, len(self.samples), hop)
        times = self.onset + (starts + hop / 2) / self.sample_rate
        if hop == 1:
            panel.plot(times, self.samples, color=COLOURS[0], linewidth=0.8)
        else:
            low, high = np.minimum.reduceat(self.samples, starts), np.maximum.reduceat(self.samples, starts)
            panel.fill_between(times, low, high, color=COLOURS[0], linewidth=0.3)
        peak = max(np.abs(self.samples).max(), 1e-3)
        panel.set(ylim=(-1.05 * peak, 1.05 * peak), ylabel="amplitude")

    def _draw_mel(self, panel, cmap):
        """Draw the mel spectrogram in dB, with ticks in Hz."""
        sample_rate, n_samples = self.sample_rate, len(self.samples)
        librosa = import_librosa()
        n_fft = max(16, 2 ** round(np.log2(WINDOW * sample_rate)))
        hop = max(n_fft // 4, -(-n_samples // N_COLUMNS))
        # As many bands as possible without empty ones: at low frequencies, a mel is 200/3 Hz wide.
        most = float(librosa.hz_to_mel(sample_rate / 2)) * 200 / 3 * n_fft / sample_rate - 1
        n_bands = int(np.clip(most, 1, N_MELS))
        padded = np.pad(self.samples, (0, max(0, n_fft - n_samples)))
        power = librosa.feature.melspectrogram(
            y=padded, sr=sample_rate, n_fft=n_fft, hop_length=hop, n_mels=n_bands, pad_mode="reflect"
        )
        decibels = librosa.power_to_db(power, ref=max(power.max(), MIN_POWER), amin=1e-16, top_db=None)
        hertz, step = librosa.mel_frequencies(n_bands + 2, fmax=sample_rate / 2)[1:-1], hop / sample_rate
        times = -step / 2, (decibels.shape[1] - 0.5) * step
        style = {"cmap": cmap, "vmin": -DYNAMIC_RANGE, "vmax": 0}
        image = self._draw_image(panel, decibels, times, "dB re max", **style)
        bands = np.arange(len(hertz))
        ticks: list[float] = []  # in the range of the bands, at least an eighth of the axis apart
        for tick in TICKS:
            positions = np.interp([tick, *ticks], hertz, bands) / len(hertz)
            if hertz[0] <= tick <= hertz[-1] and (np.abs(positions[1:] - positions[0]) > 1 / 8).all():
                ticks.append(tick)
        ticks = ticks or [hertz[len(hertz) // 2]]
        names = [f"{tick / 1000:g} k" if tick >= 1000 else f"{tick:.0f}" for tick in ticks]
        panel.set_yticks(np.interp(ticks, hertz, bands + 0.5), names)
        panel.set_ylabel("mel bands (Hz)")
        return image

    def _draw_layer(self, panel, name, frames, cmap):
        """Draw the dimensions of a layer, sorted."""
        times, embeddings = frames
        step = times[1] - times[0] if len(times) > 1 else len(self.samples) / self.sample_rate
        edges = times[0] + step * (np.arange(len(times) + 1) - 0.5)
        total = np.concatenate([[0.0], np.cumsum(np.abs(self.samples))])
        loudness = np.diff(np.interp(edges * self.sample_rate, np.arange(len(total)), total))
        values = sort_dimensions(embeddings, loudness)
        limit = max(1.0, np.nanpercentile(np.abs(values), 98))
        image = self._draw_image(panel, values.T, edges[[0, -1]], "std", cmap=cmap, vmin=-limit, vmax=limit)
        panel.set_yticks([0, values.shape[1]])
        panel.set_ylabel(f"{TITLES.get(name, name)}\ndimensions, sorted")
        return image

    def _draw_image(self, panel, values, times, bar_label, **style):
        """Draw values of shape (n_lines, n_columns) from one time to another, with a colour bar."""
        extent = (self.onset + times[0], self.onset + times[1], 0, len(values))
        image = panel.imshow(values, extent=extent, origin="lower", aspect="auto", **style)
        self.figure_.colorbar(image, cax=add_beside(panel, "right", gap=6, size=8), label=bar_label)
        return image


def sort_dimensions(embeddings, loudness):
    """Standardise dimensions over time, and sort them by their weight in the first principal component.

    Dimensions that rise with the ``loudness`` come last. Both arguments and the result have one row per step.
    Constant dimensions become zero; steps with NaN stay NaN.
    """
    known = np.isfinite(embeddings).all(axis=1)
    values = np.full(embeddings.shape, np.nan)
    if not known.any():
        return np.nan_to_num(values)
    centred = embeddings[known] - embeddings[known].mean(axis=0)
    deviation = centred.std(axis=0)
    changes = deviation > 1e-6 * np.abs(embeddings[known]).max()
    values[known] = changes * centred / np.where(changes, deviation, 1)
    weights = np.linalg.eigh(values[known].T @ values[known])[1][:, -1]
    covariance = (values[known] @ weights) @ (loudness[known] - loudness[known].mean())
    return values[:, np.argsort(weights if covariance >= 0 else -weights, kind="stable")]


def check_samples(samples):
    """Return one recording as floats at full scale."""
    types = name_types(samples := as_samples(samples))
    samples = np.asarray(samples)
    if samples.ndim != 1 or not len(samples):
        raise ValueError(f"samples have shape {samples.shape}; one recording is (n_samples,), and not empty.")
    numbers = check_array(samples, dtype=[np.float64, np.float32], ensure_2d=False, input_name="samples")
    return scale_to_full_scale(numbers, types)


def _check_frames(layer, times, embeddings):
    """Return times and embeddings as arrays that match."""
    times, embeddings = np.asarray(times, dtype=float), np.asarray(embeddings)
    if not len(times) or embeddings.shape[:1] != times.shape or embeddings.ndim != 2:
        raise ValueError(
            f"frames[{layer!r}] has times of shape {times.shape} and embeddings of shape {embeddings.shape}; they "
            "must be (n_steps,) and (n_steps, dim), with at least one step."
        )
    steps = np.diff(times)
    if len(steps) and not (np.isfinite(steps).all() and steps.min() > 0 and np.ptp(steps) <= 0.01 * steps.mean()):
        raise ValueError(
            f"frames[{layer!r}] has steps of {steps.min():g} to {steps.max():g} s, not of equal length."
        )
    return times, embeddings
