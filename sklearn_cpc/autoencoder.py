"""AutoencoderReducer: fewer features by an autoencoder."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_array, check_is_fitted, check_scalar, validate_data
from torch import nn

from ._parameters import check_training_parameters
from .training.batches import TensorBatches
from .training.device import in_precision_of, resolve_device, seeded
from .training.estimator import FittedNetworkMixin, take_over, unchanged_on_error
from .training.loop import train
from .training.scaling import fit_scaler, standardized


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
        """Map (batch, n_features) to its reconstruction, of the same shape."""
        return self.decoder(self.encoder(rows))


def dense(width, units, dropout):
    """Dense layers, each with leaky ReLU and dropout."""
    layers: list[nn.Module] = []
    for unit in units:
        layers += [nn.Linear(width, unit), nn.LeakyReLU(), nn.Dropout(dropout)]
        width = unit
    return layers


class ReconstructionLoss(nn.Module):
    """Mean squared error."""

    metrics = ()

    def forward(self, reconstruction, rows):
        """Return the loss and no metrics."""
        return nn.functional.mse_loss(reconstruction, rows), {}


class AutoencoderReducer(FittedNetworkMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
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
        Whether ``fit`` goes on from the network of the last ``fit``.
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
        Whether Ctrl-C or an error cut the training short: the network is as after its last finished epoch.
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

    _title = "autoencoder"
    _n_candidates = None

    def __init__(
        self,
        n_components=32,
        *,
        encoder_units=(256, 256, 128, 64),
        decoder_units=(64, 128, 256),
        dropout=0.1,
        max_epochs=10,
        batch_size=32,
        lr=1e-4,
        device="auto",
        callbacks=None,
        warm_start=False,
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.encoder_units = encoder_units
        self.decoder_units = decoder_units
        self.dropout = dropout
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.device = device
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

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
            If a parameter is out of range or X holds NaN or infinite values.
        """
        return self._fit(X, self.max_epochs, go_on=self.warm_start)

    def partial_fit(self, X, y=None):
        """Train for one epoch more, on these rows; the first call also learns the standardisation.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self : AutoencoderReducer
        """
        return self._fit(X, 1, go_on=True)

    def transform(self, X):
        """Reduce rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        float ndarray of shape (n_samples, n_components)
        """
        check_is_fitted(self, "network_")
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return self._run("encoder", self.scaler_.transform(X))

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
        X = check_array(X, dtype=[np.float64, np.float32], copy=True)
        if X.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has shape {X.shape}; it must be (n_samples, n_components={self._n_features_out})."
            )
        return self.scaler_.inverse_transform(self._run("decoder", X))

    def score(self, X, y=None):
        """Share of the variance of X that the reconstruction explains; 1 is best, 0 knows only the mean.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        float
        """
        check_is_fitted(self, "network_")
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        rows = self.scaler_.transform(X)
        restored = self._run("decoder", self._run("encoder", rows))
        return float(r2_score(rows, restored, multioutput="variance_weighted"))

    def _fit(self, X, max_epochs, go_on):
        self._check()
        go_on = go_on and hasattr(self, "network_")
        device, random = resolve_device(self.device), self._generator(go_on)
        with unchanged_on_error(self), seeded(random, device):
            X = validate_data(self, X, dtype=[np.float64, np.float32], reset=not go_on)
            if not go_on:
                self.scaler_ = fit_scaler(X)
            rows = standardized(X, self.scaler_)
            sizes = X.shape[1], self.encoder_units, self.n_components, self.decoder_units, self.dropout
            network = Autoencoder(*sizes)
            if go_on:
                take_over(self, network)
            training = train(
                network,
                TensorBatches(rows, rows, self.batch_size),
                ReconstructionLoss(),
                max_epochs=max_epochs,
                lr=self.lr,
                device=device,
                callbacks=self.callbacks,
                verbose=self.verbose,
                title="autoencoder",
                optimizer_state=self._optimizer_state if go_on else None,
            )
        self._keep(network, training, random, go_on)
        return self

    def _run(self, part, rows):
        """Run rows through one half of the network, in their own precision."""
        device = resolve_device(self.device)
        network = in_precision_of(self.network_.to(device), rows.dtype)
        with torch.inference_mode():
            return getattr(network, part)(torch.from_numpy(rows).to(device)).cpu().numpy()

    @property
    def _n_features_out(self):
        return self.network_.encoder[-2].out_features

    def __sklearn_tags__(self):
        """Say that float32 stays float32."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _check(self):
        check_training_parameters(self)
        check_scalar(self.n_components, "n_components", Integral, min_val=1)
        check_scalar(self.dropout, "dropout", Real, min_val=0, max_val=1, include_boundaries="left")
        for name in ("encoder_units", "decoder_units"):
            units = getattr(self, name)
            if not isinstance(units, (tuple, list)):
                raise TypeError(f"{name}={units!r} must be a tuple of int: the width of each layer.")
            for unit in units:
                check_scalar(unit, name, Integral, min_val=1)
