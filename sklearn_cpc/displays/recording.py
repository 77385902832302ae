"""RecordingDisplay: one recording over time, as sound and as the network hears it."""

import copy
import os
from numbers import Real

import librosa
import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_array, check_is_fitted, check_scalar

from ..audio.clips import holds_path
from ..audio.store import AudioSource
from ._panels import beside, panels_in
from ._style import COLOURS

WINDOW = 0.064  # of the spectrogram, in seconds, or the next power of two in samples
N_MELS = 80
N_COLUMNS = 4000  # of the waveform and the spectrogram at most: more than a page has pixels
RANGE = 80.0  # of the spectrogram, in dB
SILENCE = 1e-6  # power that is drawn dark even if there is none above it
HERTZ = (20000, 10000, 5000, 2000, 1000, 500, 200, 100, 50)  # that get a tick, where there is room
TITLES = {"z": "z (embedding)", "c": "c (context)"}
COLOUR_BAR = {"gap": 6, "size": 8}  # points


class RecordingDisplay:
    """One recording over time: waveform, mel spectrogram, and the embeddings z and contexts c of every step.

    Shows what a network reacts to, and for how long its contexts remember it. Each dimension of an
    embedding is a line of its image, standardised over the recording, and lines that go up and down
    together lie together: they are sorted by their weight in the first principal component, those that
    rise with the loudness on top.

    It is recommended to use :meth:`from_estimator` or :meth:`from_frames`.

    Parameters
    ----------
    samples : float ndarray of shape (n_samples,)
        The recording.
    sample_rate : int
        Samples per second, in Hz.
    layers : dict of {str: Frames}, default=None
        Embeddings over time by name, each ``(times, embeddings)`` with times in seconds from the first
        sample, as from :meth:`CPCTransformer.transform_frames`. None: none.
    onset : float, default=0.0
        Where in its file the recording begins, in seconds: the beginning of the axis of time.
    name : str, default=None
        Title. None: no title.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        What was drawn into, after plotting. The panels lie within ``ax_``.
    axes_ : dict of {str: matplotlib Axes}
        The panels: "waveform", "mel" and one for each layer.
    images_ : dict of {str: matplotlib AxesImage}
        The images of "mel" and of the layers.

    See Also
    --------
    sklearn_cpc.CPCTransformer.transform_frames : The embeddings over time.

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
        ax : matplotlib Axes or sequence of them, default=None
            Axes into which all panels are laid, or as many as there are panels. None: a new figure.
        cmap : str or matplotlib Colormap, default="magma"
            Colours of the spectrogram, from 80 dB below its maximum up to it.
        layer_cmap : str or matplotlib Colormap, default="RdBu_r"
            Colours of the layers, centred at the mean of each dimension. They span all values but the 2 %
            that are largest, and a standard deviation at least.

        Returns
        -------
        display : RecordingDisplay

        Raises
        ------
        ValueError
            If ``ax`` holds another number of axes than there are panels.
        """
        layers = self.layers or {}
        heights = [1.0, 1.6, *[1.6] * len(layers)]
        cells = [(row, 0) for row in range(len(heights))]
        figsize = 9.0, 1.1 * sum(heights) + 0.8
        self.ax_, panels = panels_in(ax, cells, figsize=figsize, height_ratios=heights, sharex=True)
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
        panels[0].set_title(self.name or "")
        return self

    @classmethod
    def from_estimator(cls, estimator, recording, *, name=None, ax=None, cmap="magma", layer_cmap="RdBu_r"):
        """Embed a recording with a fitted network, step by step, and draw it.

        Parameters
        ----------
        estimator : CPCTransformer or Pipeline with one
            Fitted. A network whose autoregressor yields one context for a whole clip ("attention") has no
            contexts over time, and their panel is left out.
        recording : path, Clip or float array of shape (n_samples,)
            Samples are at the rate of the network, and, where it was fitted on an array, as long as its
            rows. Of a clip, the axis of time tells where it lies in its file.
        name : str, default=None
            Title. None: the name of the file.
        ax, cmap, layer_cmap
            See :meth:`plot`.

        Returns
        -------
        display : RecordingDisplay

        Raises
        ------
        NotFittedError
            If the estimator has not been fitted.
        TypeError
            If it embeds nothing over time.
        ValueError
            If the recording cannot be read; the message tells why.
        """
        check_is_fitted(estimator)
        cpc = copy.copy(_network_of(estimator))
        cpc.on_error = "raise"  # there is nothing else to draw
        X = [recording] if holds_path(recording) else _as_samples(recording)[None]
        source = AudioSource(cpc, X, cpc.sample_rate_, reset=False)
        (samples,), clips = source.read().samples, source.clips
        names = ["z"] if cpc.network_.single_context else ["z", "c"]
        return cls.from_frames(
            np.asarray(samples),
            cpc.sample_rate_,
            {layer: cpc.transform_frames(X, layer)[0] for layer in names},
            onset=clips[0].onset if clips else 0.0,
            name=os.path.basename(clips[0].path) if name is None and clips else name,
            ax=ax,
            cmap=cmap,
            layer_cmap=layer_cmap,
        )

    @classmethod
    def from_frames(
        cls, samples, sample_rate, frames=None, *, onset=0.0, name=None, ax=None, cmap="magma", layer_cmap="RdBu_r"
    ):
        """Draw a recording with embeddings over time, whatever they come from.

        Parameters
        ----------
        samples : float array of shape (n_samples,)
            The recording.
        sample_rate : int
            Samples per second, in Hz.
        frames : dict of {str: Frames}, default=None
            See ``layers`` of the class: ``{"z": cpc.transform_frames([path])[0]}``, for example. Steps must be
            equally long. None: the sound alone.
        onset : float, default=0.0
            Where in its file the recording begins, in seconds.
        name : str, default=None
            Title. None: no title.
        ax, cmap, layer_cmap
            See :meth:`plot`.

        Returns
        -------
        display : RecordingDisplay

        Raises
        ------
        ValueError
            If the recording is empty or holds NaN, times and embeddings do not fit each other, or steps
            are not equally long.
        """
        samples = _as_samples(samples)
        check_scalar(sample_rate, "sample_rate", Real, min_val=0, include_boundaries="neither")
        layers = {str(layer): _check_frames(layer, *pair) for layer, pair in (frames or {}).items()}
        display = cls(samples, sample_rate, layers, onset=onset, name=name)
        return display.plot(ax=ax, cmap=cmap, layer_cmap=layer_cmap)

    def _draw_waveform(self, panel):
        """Draw the samples or, of long recordings, what they range over."""
        hop = -(-len(self.samples) // N_COLUMNS)
        starts = np.arange(0, len(self.samples), hop)
        low, high = (pick.reduceat(self.samples, starts) for pick in (np.minimum, np.maximum))
        times = self.onset + (starts + hop / 2) / self.sample_rate
        if hop == 1:
            panel.plot(times, self.samples, color=COLOURS[0], linewidth=0.8)
        else:
            panel.fill_between(times, low, high, color=COLOURS[0], linewidth=0.3)
        peak = max(np.abs(self.samples).max(), 1e-3)
        panel.set_ylim(-1.05 * peak, 1.05 * peak)
        panel.set_ylabel("amplitude")

    def _draw_mel(self, panel, cmap):
        """Draw the mel spectrogram in dB, with ticks in Hz."""
        decibels, hertz, step = _mel_spectrogram(self.samples, self.sample_rate)
        n_bands, n_columns = decibels.shape
        extent = (self.onset - step / 2, self.onset + (n_columns - 0.5) * step, 0, n_bands)
        image = self._draw_image(panel, decibels, extent, cmap=cmap, vmin=-RANGE, vmax=0)
        self._add_colour_bar(panel, image, "dB re max")
        ticks = _spread_ticks(hertz)
        names = [f"{tick / 1000:g} k" if tick >= 1000 else f"{tick:.0f}" for tick in ticks]
        panel.set_yticks(np.interp(ticks, hertz, np.arange(n_bands) + 0.5), names)
        panel.set_ylabel("mel bands (Hz)")
        return image

    def _draw_layer(self, panel, name, frames, cmap):
        """Draw the dimensions of a layer, sorted."""
        times, embeddings = frames
        step = times[1] - times[0] if len(times) > 1 else len(self.samples) / self.sample_rate
        edges = times[0] + step * (np.arange(len(times) + 1) - 0.5)
        values = sorted_dimensions(embeddings, self._loudness(edges))
        extent = (self.onset + edges[0], self.onset + edges[-1], 0, values.shape[1])
        top = max(1.0, np.nanpercentile(np.abs(values), 98))
        image = self._draw_image(panel, values.T, extent, cmap=cmap, vmin=-top, vmax=top)
        self._add_colour_bar(panel, image, "std")
        panel.set_yticks([0, values.shape[1]])
        panel.set_ylabel(f"{TITLES.get(name, name)}\ndimensions, sorted")
        return image

    def _loudness(self, edges):
        """Mean amplitude between edges in seconds, of which there is one more."""
        total = np.concatenate([[0.0], np.cumsum(np.abs(self.samples))])
        return np.diff(np.interp(edges * self.sample_rate, np.arange(len(total)), total))

    def _draw_image(self, panel, values, extent, **style):
        return panel.imshow(values, extent=extent, origin="lower", aspect="auto", **style)

    def _add_colour_bar(self, panel, image, label):
        self.figure_.colorbar(image, cax=beside(panel, "right", **COLOUR_BAR), label=label)


def sorted_dimensions(embeddings, loudness):
    """Standardise dimensions over time, and sort them by their weight in the first principal component.

    Parameters
    ----------
    embeddings : float ndarray of shape (n_steps, dim)
    loudness : float ndarray of shape (n_steps,)
        Decides which end is up: the dimensions that rise with it come last.

    Returns
    -------
    float ndarray of shape (n_steps, dim)
        Zero throughout where a dimension does not change, NaN where ``embeddings`` is.
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
    course = (values[known] @ weights) @ (loudness[known] - loudness[known].mean())
    return values[:, np.argsort(weights if course >= 0 else -weights, kind="stable")]


def _mel_spectrogram(samples, sample_rate):
    """Compute a mel spectrogram.

    Returns
    -------
    decibels : float ndarray of shape (n_bands, n_columns)
        0 where it is loudest.
    hertz : float ndarray of shape (n_bands,)
        Centres of the bands.
    step : float
        Seconds from one column to the next.
    """
    n_fft = max(16, 2 ** round(np.log2(WINDOW * sample_rate)))
    hop = max(n_fft // 4, -(-len(samples) // N_COLUMNS))
    # As many bands as leave none without a bin: at low frequencies a mel is 200/3 Hz wide.
    most = float(librosa.hz_to_mel(sample_rate / 2)) * 200 / 3 * n_fft / sample_rate - 1
    n_bands = int(np.clip(most, 1, N_MELS))
    power = librosa.feature.melspectrogram(
        y=np.pad(samples, (0, max(0, n_fft - len(samples)))),
        sr=sample_rate,
        n_fft=n_fft,
        hop_length=hop,
        n_mels=n_bands,
        pad_mode="reflect",
    )  # (n_bands, n_columns)
    decibels = librosa.power_to_db(power, ref=max(power.max(), SILENCE), amin=1e-16, top_db=None)
    return decibels, librosa.mel_frequencies(n_bands + 2, fmin=0, fmax=sample_rate / 2)[1:-1], hop / sample_rate


def _spread_ticks(hertz):
    """Round frequencies within the centres of bands, an eighth of the axis apart at least."""
    ticks: list[float] = []
    places: list[float] = []
    for tick in HERTZ:
        place = np.interp(tick, hertz, np.arange(len(hertz))) / len(hertz)
        if hertz[0] <= tick <= hertz[-1] and all(abs(place - other) > 1 / 8 for other in places):
            ticks.append(tick)
            places.append(place)
    return ticks or [hertz[len(hertz) // 2]]


# Checking


def _network_of(estimator):
    """Return what embeds over time: the estimator, or the step of a Pipeline."""
    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    for step in steps:
        if hasattr(step, "transform_frames"):
            return step
    raise TypeError(
        f"{type(estimator).__name__} has no transform_frames, so it does not embed over time; pass a "
        "CPCTransformer or a Pipeline with one."
    )


def _as_samples(samples):
    """Return samples as a 1-D float array."""
    samples = np.asarray(samples)
    if samples.ndim != 1 or not len(samples):
        raise ValueError(f"samples have shape {samples.shape}; one recording is (n_samples,), and not empty.")
    return check_array(samples, dtype=[np.float64, np.float32], ensure_2d=False, input_name="samples")


def _check_frames(layer, times, embeddings):
    """Return times and embeddings as arrays that fit each other."""
    times, embeddings = np.asarray(times, dtype=float), np.asarray(embeddings)
    if not len(times) or embeddings.shape[:1] != times.shape or embeddings.ndim != 2:
        raise ValueError(
            f"frames[{layer!r}] has times of shape {times.shape} and embeddings of shape {embeddings.shape}; they "
            "must be (n_steps,) and (n_steps, dim), with one step at least."
        )
    steps = np.diff(times)
    if len(steps) and not (np.isfinite(steps).all() and steps.min() > 0 and np.ptp(steps) <= 0.01 * steps.mean()):
        raise ValueError(
            f"frames[{layer!r}] has steps of {steps.min():g} to {steps.max():g} s; they must be equally long."
        )
    return times, embeddings
