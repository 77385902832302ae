"""EmbeddingMonitor: watch the embeddings during a training."""

from collections import deque
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Annotated

import numpy as np
import torch
from scipy.stats import entropy, mode
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval, validate_parameter_constraints
from skorch.callbacks import Callback

from .._constraints import Constrained, integers
from .._warnings import warn
from .device import move


@dataclass(repr=False, eq=False)
class EmbeddingMonitor(Constrained, Callback):
    """Watch the embeddings while a :class:`CPCTransformer` is trained, and warn if they collapse.

    A callback. It adds to every row of ``history_``

    - ``train_effective_rank``: how many directions the embeddings z of single steps fill, from 1 to ``z_dim``;
    - ``train_relative_std``: their standard deviation, relative to their size: 0 if all are the same, 1 if
      they are centred;
    - ``valid_knn_accuracy``, if labels are given: how often the nearest neighbours of a recording agree on its
      class.

    The first two use the last embeddings that the training computed in the epoch.

    Parameters
    ----------
    labelled : tuple of (X, y), default=None
        Some recordings and their classes, for ``valid_knn_accuracy``. The network is not trained on them. They
        are embedded after every epoch, so a few will do.
    n_neighbors : int, default=5
        Neighbours that vote; the recording itself has no vote.
    n_rows : int, default=2048
        Number of embeddings to examine.
    min_rank : float, default=2.0
        Warn once the effective rank is lower.
    min_std : float, default=0.01
        Warn once the relative standard deviation is lower.

    Raises
    ------
    TypeError, ValueError
        When training begins, if a parameter cannot be used.

    Warns
    -----
    UserWarning
        Once per training, if the embeddings collapse.

    Notes
    -----
    The effective rank is the exponential of the entropy of the normalised singular values (O. Roy, M. Vetterli,
    "The effective rank", EUSIPCO 2007), here of centred embeddings.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cpc import Conv1dEncoder, CPCTransformer, EmbeddingMonitor
    >>> clips = np.random.default_rng(0).standard_normal((16, 2000)).astype("float32")
    >>> small = Conv1dEncoder(n_filters=8, dense_units=8, z_dim=8, sample_rate=1000)
    >>> monitor = EmbeddingMonitor(labelled=(clips, np.arange(16) % 2))
    >>> cpc = CPCTransformer(small, clip_duration=2.0, n_context=3, n_future=1, callbacks=[monitor])
    >>> last = cpc.fit(clips).history_[-1]
    >>> 1 < last["train_effective_rank"] < 8, 0 <= last["valid_knn_accuracy"] <= 1
    (True, True)
    """

    labelled: Annotated[Sequence | None, tuple, list, None] = None
    _: KW_ONLY
    n_neighbors: Annotated[int, integers(1, 2**20)] = 5
    n_rows: Annotated[int, integers(2, 2**24)] = 2048
    min_rank: Annotated[float, Interval(Real, 0, None, closed="left")] = 2.0
    min_std: Annotated[float, Interval(Real, 0, None, closed="left")] = 0.01

    def on_train_begin(self, net, **_):
        """Check the parameters and read the labelled recordings."""
        validate_parameter_constraints(self._parameter_constraints, vars(self), "EmbeddingMonitor")
        if net.embedder is None:
            raise TypeError("EmbeddingMonitor watches a CPCTransformer; remove it from these callbacks.")
        self.recent_: deque[torch.Tensor] = deque()
        self.collapsed_ = False
        if self.labelled is not None:
            X, y = self.labelled
            check_consistent_length(X, y)
            if len(y) <= self.n_neighbors:
                raise ValueError(
                    f"labelled has {len(y)} recording(s), too few for n_neighbors={self.n_neighbors}; give more."
                )
            self.embed_, self.classes_ = net.embedder(X), np.asarray(y)

    def on_batch_end(self, net, batch=None, training=False, y_pred=None, **_):
        """Keep the embeddings of the last batches."""
        z, n_valid = y_pred.z.detach(), batch[1]  # on the CPU: a GPU would have to tell
        rows = (torch.arange(z.shape[1]) < n_valid[:, None]).flatten().nonzero()[:, 0]
        self.recent_.append(z.flatten(0, 1).index_select(0, move(rows, z.device)))
        while sum(map(len, self.recent_)) - len(self.recent_[0]) >= self.n_rows:
            self.recent_.popleft()

    def on_epoch_end(self, net, **_):
        """Record rank, spread and neighbours of the embeddings, and warn if they collapse."""
        rows = torch.cat(tuple(self.recent_))[-self.n_rows :].float().cpu().numpy()
        self.recent_.clear()
        rank, std = effective_rank(rows), relative_std(rows)
        net.history.record("train_effective_rank", rank)
        net.history.record("train_relative_std", std)
        if self.labelled is not None:
            accuracy = knn_accuracy(self.embed_(net.module_.eval()), self.classes_, self.n_neighbors)
            net.history.record("valid_knn_accuracy", accuracy)
        if not self.collapsed_ and (rank < self.min_rank or std < self.min_std):
            self.collapsed_ = True
            warn(
                f"the embeddings collapse: after epoch {len(net.history)} those of different steps fill "
                f"{rank:.1f} of {rows.shape[1]} directions and differ by {100 * std:.1f} % of their size. Such "
                "features distinguish little; lower lr, use other negatives, or check whether the recordings are "
                "silent."
            )


def effective_rank(rows):
    """Exponential of the entropy of the singular values of centred rows, (n_rows, dim); 1 if all are equal."""
    values = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    return float(np.exp(entropy(values))) if values.any() else 1.0


def relative_std(rows):
    """Root mean square distance of rows, (n_rows, dim), from their mean, over that from zero."""
    size = np.sqrt(np.mean(np.square(rows)))
    return float(np.sqrt(np.mean(rows.var(axis=0))) / size) if size else 0.0


def knn_accuracy(features, classes, n_neighbors):
    """Share of rows whose nearest neighbours, in standardised features, vote for the row's own class.

    Rows with NaN are left out. A tie goes to the class that comes first.
    """
    known = np.isfinite(features).all(axis=1)
    rows = StandardScaler().fit_transform(features[known])
    codes = np.unique(classes[known], return_inverse=True)[1]
    nearest = NearestNeighbors(n_neighbors=n_neighbors).fit(rows).kneighbors(return_distance=False)
    return float(np.mean(mode(codes[nearest], axis=1).mode == codes))
