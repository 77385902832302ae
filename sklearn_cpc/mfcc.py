"""MFCCTransformer: hand-crafted features that need no training, as a baseline."""

from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ._constraints import N_FFT, ON_ERROR, SAMPLE_RATE, Jobs, Memory, Verbose, integers
from ._librosa import import_librosa
from .audio.store import AudioSource
from .persistence import SaveMixin


@dataclass(repr=False, eq=False)
class MFCCTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, SaveMixin):
    """Mean and standard deviation over time of mel-frequency cepstral coefficients: a simple baseline.

    Parameters
    ----------
    n_mfcc : int, default=20
        Number of coefficients (librosa's default), at most ``n_mels``.
    sample_rate : int, default=22050
        Rate in Hz to which recordings are resampled.
    n_fft : int, default=2048
        Length of the Fourier transform, in samples.
    hop_length : int, default=512
        Samples from one frame to the next.
    n_mels : int, default=128
        Number of mel bands; choose fewer for a low rate or a short transform.
    on_error : {"raise", "nan"} or callable, default="raise"
        Raise one error that lists all unusable recordings, or fill their rows with NaN and warn. A callable gets a
        dict of the reasons by path, in place of the warning.
    memory : str, path-like or joblib.Memory, default=None
        Directory for decoded recordings, shared by fits and processes. None: decode them in every call.
    n_jobs : int, default=None
        Number of threads that decode recordings.
    verbose : int, default=0
        1 for a progress bar.

    Attributes
    ----------
    n_features_in_ : int
        Samples per clip, when fitted on an array.

    See Also
    --------
    CPCTransformer : Features learned from recordings. It takes the same X: paths, clips or an array.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cpc import MFCCTransformer
    >>> clips = np.random.default_rng(0).standard_normal((4, 22050))
    >>> MFCCTransformer().fit_transform(clips).shape
    (4, 40)
    """

    n_mfcc: Annotated[int, integers(1, 1024)] = 20
    _: KW_ONLY
    sample_rate: Annotated[int, SAMPLE_RATE] = 22050
    n_fft: Annotated[int, N_FFT] = 2048
    hop_length: Annotated[int, integers(1, 2**16)] = 512
    n_mels: Annotated[int, integers(2, 512)] = 128
    on_error: Annotated[Any, ON_ERROR, callable] = "raise"
    memory: Memory = None
    n_jobs: Jobs = None
    verbose: Verbose = 0

    def fit(self, X, y=None):
        """Check the parameters and that X can be read; nothing is learned.

        Parameters
        ----------
        X : recordings or float array of shape (n_clips, n_samples)
        y : ignored

        Returns
        -------
        self : MFCCTransformer
        """
        for _ in self._open(X, reset=True).chunks():
            pass  # reading raises if recordings cannot be used
        self._is_fitted = True
        return self

    def fit_transform(self, X, y=None):
        """Compute the features of recordings; each is decoded once.

        Parameters
        ----------
        X : recordings or float array of shape (n_clips, n_samples)
        y : ignored

        Returns
        -------
        float ndarray of shape (n_rows, 2 * n_mfcc)
        """
        features = self._compute(self._open(X, reset=True))
        self._is_fitted = True
        return features

    def transform(self, X):
        """Compute the features of recordings.

        Parameters
        ----------
        X : recordings or float array of shape (n_clips, n_samples)

        Returns
        -------
        float ndarray of shape (n_rows, 2 * n_mfcc)
            Means, then standard deviations. With ``on_error="nan"``, rows of unusable recordings are NaN.
        """
        check_is_fitted(self)
        return self._compute(self._open(X, reset=False))

    def _open(self, X, reset):
        self._validate_params()
        if self.n_mfcc > self.n_mels:
            raise ValueError(f"n_mfcc={self.n_mfcc} must not exceed n_mels={self.n_mels}.")
        if self.hop_length * 256 < self.n_fft:  # frames overlap, and together take more memory than the samples
            raise ValueError(f"hop_length={self.hop_length} must be at least n_fft / 256 = {self.n_fft / 256:g}.")
        return AudioSource(self, X, self.sample_rate, reset=reset)

    def _compute(self, source):
        librosa = import_librosa()
        options = {name: getattr(self, name) for name in ("n_mfcc", "n_fft", "hop_length", "n_mels")}
        features = np.full((source.n_rows, 2 * self.n_mfcc), np.nan, source.dtype)
        for chunk in source.chunks():
            for i in chunk.readable:
                samples = np.asarray(chunk.samples[i])
                samples = np.pad(samples, (0, max(0, self.n_fft - len(samples))))
                mfcc = librosa.feature.mfcc(y=samples, sr=self.sample_rate, **options)  # (n_mfcc, n_frames)
                features[chunk.rows[i]] = np.concatenate([mfcc.mean(axis=1), mfcc.std(axis=1)])
        return features

    @property
    def _n_features_out(self):
        check_is_fitted(self)  # its error is an AttributeError too
        return 2 * self.n_mfcc

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_is_fitted")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True  # paths
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
