"""MFCCTransformer: hand-crafted features that need no training, to compare with."""

from numbers import Integral

import librosa
import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, check_scalar

from .audio.store import Source
from .persistence import SaveMixin


class MFCCTransformer(SaveMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Mean and standard deviation over time of mel-frequency cepstral coefficients.

    The usual hand-crafted features: what learned ones must beat.

    Parameters
    ----------
    n_mfcc : int, default=20
        Coefficients (librosa's default), at most ``n_mels``.
    sample_rate : int, default=22050
        Rate in Hz at which recordings are read.
    n_fft : int, default=2048
        Length of the Fourier transform, in samples.
    hop_length : int, default=512
        Samples from one frame to the next.
    n_mels : int, default=128
        Mel bands; fewer suit a low rate or a short transform.
    on_error : {"raise", "nan"}, default="raise"
        What to do with recordings that cannot be used: raise one error that lists them all, or fill
        their rows with NaN and warn.
    memory : str, path-like or joblib.Memory, default=None
        Directory for decoded recordings, shared by fits and processes.
    n_jobs : int, default=None
        Threads that decode recordings.
    verbose : int, default=0
        1 for a progress bar.

    Attributes
    ----------
    n_features_in_ : int
        Samples per clip, when fitted on an array.

    See Also
    --------
    CPCTransformer : Features learned from the recordings.

    Notes
    -----
    X is what it is for :class:`CPCTransformer`: paths, clips or an array of samples.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cpc import MFCCTransformer
    >>> clips = np.random.default_rng(0).standard_normal((4, 22050))
    >>> MFCCTransformer().fit_transform(clips).shape
    (4, 40)
    """

    def __init__(
        self,
        n_mfcc=20,
        *,
        sample_rate=22050,
        n_fft=2048,
        hop_length=512,
        n_mels=128,
        on_error="raise",
        memory=None,
        n_jobs=None,
        verbose=0,
    ):
        self.n_mfcc = n_mfcc
        self.sample_rate = sample_rate
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.n_mels = n_mels
        self.on_error = on_error
        self.memory = memory
        self.n_jobs = n_jobs
        self.verbose = verbose

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
        for _ in self._source(X, reset=True).parts():
            pass  # which raises if there is something to raise
        self._n_features_out = 2 * self.n_mfcc
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
        return self._features(self._source(X, reset=True))

    def transform(self, X):
        """Compute the features of recordings.

        Parameters
        ----------
        X : recordings or float array of shape (n_clips, n_samples)

        Returns
        -------
        float ndarray of shape (n_rows, 2 * n_mfcc)
            Means, then standard deviations. NaN in the rows of unusable recordings, with
            ``on_error="nan"``.
        """
        check_is_fitted(self)
        return self._features(self._source(X, reset=False))

    def _source(self, X, reset):
        for name in ("n_mfcc", "sample_rate", "n_fft", "hop_length", "n_mels"):
            check_scalar(getattr(self, name), name, Integral, min_val=1)
        check_scalar(self.n_mfcc, "n_mfcc", Integral, max_val=self.n_mels)
        return Source(self, X, self.sample_rate, reset=reset)

    def _features(self, source):
        features = np.full((source.n_rows, 2 * self.n_mfcc), np.nan, source.dtype)
        for part in source.parts():
            for i in part.readable:
                features[part.rows[i]] = self._describe(part.samples[i])
        self._n_features_out = 2 * self.n_mfcc
        return features

    def _describe(self, samples):
        padding = max(0, self.n_fft - len(samples))
        mfcc = librosa.feature.mfcc(
            y=np.pad(samples, (0, padding)),
            sr=self.sample_rate,
            n_mfcc=self.n_mfcc,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            n_mels=self.n_mels,
        )  # (n_mfcc, n_frames)
        return np.concatenate([mfcc.mean(axis=1), mfcc.std(axis=1)])

    def __sklearn_is_fitted__(self):
        """Whether fit has been called."""
        return hasattr(self, "_n_features_out")

    def __sklearn_tags__(self):
        """Say that X may hold strings (paths) and that float32 stays float32."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
