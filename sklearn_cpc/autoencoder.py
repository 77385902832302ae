"""AutoencoderReducer: fewer features by an autoencoder."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Annotated

from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_array, check_is_fitted
from torch import nn

from ._constraints import SHARE, UNITS, Each, Flag, RandomState, Verbose
from ._generators import Dropout
from .training.batches import TensorBatches
from .training.estimator import BatchSize, Callbacks, Device, Epochs, LearningRate, NetworkEstimator, Task
from .training.scaling import DTYPES, scale, standardize


class Autoencoder(nn.Module):
    """Dense encoder and decoder with leaky ReLU and dropout; the output is linear."""

    def __init__(self, n_features, encoder_units, n_components, decoder_units, dropout):
        super().__init__()
        self.encoder = nn.Sequential(
            *dense(n_features, encoder_units, dropout),
            nn.Linear([n_features, *encoder_units][-1], n_components),
            nn.LeakyReLU(),
        )
        self.decoder = nn.Sequential(
            *dense(n_components, decoder_units, dropout),
            nn.Linear([n_components, *decoder_units][-1], n_features),
        )

    def forward(self, rows):
        """Map (batch, n_features) to a reconstruction of the same shape."""
        return self.decoder(self.encoder(rows))


def dense(width, units, dropout):
    """Dense layers, each with leaky ReLU and dropout."""
    layers: list[nn.Module] = []
    for unit in units:
        layers += [nn.Linear(width, unit), nn.LeakyReLU(), Dropout(dropout)]
        width = unit
    return layers


class ReconstructionLoss(nn.MSELoss):
    """Mean squared error."""

    metrics = ()

    def forward(self, reconstruction, rows):
        """Return the loss and no metrics."""
        return super().forward(reconstruction, rows), {}


@dataclass(repr=False, eq=False)
class AutoencoderReducer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, NetworkEstimator):
    """Reduce features with an autoencoder (the report's section 2.3.1, Tables 4 and 5).

    Dense layers of 256, 256, 128, 64, **32**, 64, 128, 256 units with leaky ReLU and dropout, and a
    linear output; the middle one gives the reduced features. Input is standardised per feature.

    Parameters
    ----------
    n_components : int, default=32
        Reduced features (Table 4).
    encoder_units : tuple of int, default=(256, 256, 128, 64)
        Dense layers before the reduced features (Table 4).
    decoder_units : tuple of int, default=(64, 128, 256)
        Dense layers after them (Table 4).
    dropout : float, default=0.1
        Dropout after each of those layers (Table 4).
    max_epochs : int, default=10
        Passes over the rows (Table 5, for 90,000 of them; some hundred rows need 100 or more).
    batch_size : int, default=32
        Rows per batch (Table 5).
    lr : float, default=1e-4
        Learning rate of Adam (Table 5; some hundred rows do better with 1e-3).
    device : str or torch.device, default="auto"
        "auto" is a CUDA GPU if there is one, else the CPU.
    callbacks : list of skorch callbacks, default=None
        Early stopping, schedules and the like; they may monitor ``train_loss``.
    warm_start : bool, default=False
        Whether ``fit`` continues from the network of the last ``fit``.
    random_state : int, RandomState instance or None, default=None
        Seeds weights, order and dropout. Pass an int for the same result in every fit.
    verbose : int, default=0
        1 for a progress bar.

    Attributes
    ----------
    network_ : nn.Module
        The autoencoder, with ``encoder`` and ``decoder``, over standardised features.
    scaler_ : StandardScaler
        Mean and scale of the input features.
    history_ : list of dict
        Per epoch: ``epoch``, ``train_loss`` (mean squared error of standardised features) and ``dur``
        in seconds.
    n_iter_ : int
        Epochs trained.
    interrupted_ : bool
        Whether Ctrl-C or an error stopped the training early. The network is that of the last finished epoch.
    n_features_in_ : int
        Features of the input.

    See Also
    --------
    CPCTransformer : Learns the features.
    sklearn.decomposition.PCA : The linear alternative, exact and instant.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cpc import AutoencoderReducer
    >>> rows = np.random.default_rng(0).standard_normal((64, 512))
    >>> AutoencoderReducer(random_state=0).fit_transform(rows).shape
    (64, 32)
    """

    n_components: Annotated[int, UNITS] = 32
    _: KW_ONLY
    encoder_units: Annotated[Sequence[int], Each(UNITS, least=0)] = (256, 256, 128, 64)
    decoder_units: Annotated[Sequence[int], Each(UNITS, least=0)] = (64, 128, 256)
    dropout: Annotated[float, SHARE] = 0.1
    max_epochs: Epochs = 10
    batch_size: BatchSize = 32
    lr: LearningRate = 1e-4
    device: Device = "auto"
    callbacks: Callbacks = None
    warm_start: Flag = False
    random_state: RandomState = None
    verbose: Verbose = 0

    _title = "autoencoder"

    def fit(self, X, y=None):
        """Train the autoencoder.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self : AutoencoderReducer

        Raises
        ------
        ValueError, TypeError
            If a parameter or X cannot be used; raised before training starts.
        """
        self._train(X, y)
        return self

    def transform(self, X):
        """Reduce rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        float ndarray of shape (n_samples, n_components)
        """
        return self._run(scale(self, X), "encoder")

    def inverse_transform(self, X):
        """Map reduced features back to the input's.

        Parameters
        ----------
        X : float array of shape (n_samples, n_components)

        Returns
        -------
        float ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self, "network_")
        X = check_array(X, dtype=DTYPES, copy=True)
        if X.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has shape {X.shape}; it must be (n_samples, n_components={self._n_features_out})."
            )
        return self.scaler_.inverse_transform(self._run(X, "decoder"))

    def score(self, X, y=None):
        """Share of the variance of X that the reconstruction explains: 1 is best, 0 is as good as the mean.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        float
        """
        rows = scale(self, X)
        return float(r2_score(rows, self._run(rows), multioutput="variance_weighted"))

    def _build_network(self):
        layers = self.encoder_units, self.n_components, self.decoder_units
        return Autoencoder(self.n_features_in_, *layers, self.dropout)

    def _plan(self, X, y, random, partial, resume):
        rows = standardize(self, X, reset=not resume)
        return Task(self._start_network(resume), TensorBatches(rows, rows, self.batch_size), ReconstructionLoss())

    @property
    def _n_features_out(self):
        return self.network_.encoder[-2].out_features
