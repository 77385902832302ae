"""EmbeddingDisplay: embeddings of train and test data in one plane, by class or by split."""

from itertools import cycle

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import check_array, check_is_fitted

from .._constraints import check_parameters, integers
from .._extras import import_extra
from .._warnings import warn
from ..evaluation.folds import check_labels
from ._drawing import CHARACTER_WIDTH, COLOURS, GREY, MARKERS, PLAIN, add_legend, make_panels, size_in_points

DTYPES = [np.float64, np.float32]
N_COMPONENTS = 50  # of the PCA before t-SNE: it keeps the distances of wide data at a fraction of the cost
PERPLEXITY = 30.0  # of t-SNE: scikit-learn's default, unless there are few points
SPLIT_STYLES = {"train": {"color": COLOURS[0], "marker": "o"}, "test": {"color": COLOURS[1], "marker": "^"}}
DOTS = {"alpha": 0.8, "linewidths": 0}
OTHERS_STYLE = {"color": "0.85", "marker": "o"}  # points of other classes


class EmbeddingDisplay:
    """Embeddings of train and test data, projected together onto a plane.

    See the report's section 2.3 and its figures 10 to 13 and 17 to 21. If the features are good for
    classification, each class forms a cluster. If the train and test points of a class are far apart, the
    features do not generalise. Create a display with :meth:`from_estimator` or :meth:`from_embeddings`.

    Parameters
    ----------
    points : float ndarray of shape (n_points, 2)
        Positions.
    labels : ndarray of shape (n_points,), default=None
        Class of each point. None: unknown.
    split : ndarray of shape (n_points,), default=None
        "train" or "test" for each point. None: "train".
    rows : int ndarray of shape (n_points,), default=None
        Row of each point among the embeddings of its split. None: unknown.
    name : str, default="dimension"
        Name of the projection, for the axes.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Axes that contain all panels and their figure, after plotting.
    axes_ : object ndarray of the Axes of all panels, of shape (n_panels,)

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sklearn_cpc.displays import EmbeddingDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> display = EmbeddingDisplay.from_embeddings(X[::2], y[::2], X[1::2], y[1::2], projection=PCA(2))
    >>> display.points.shape
    (150, 2)
    """

    def __init__(self, points, *, labels=None, split=None, rows=None, name="dimension"):
        self.points = points
        self.labels = labels
        self.split = split
        self.rows = rows
        self.name = name

    def plot(self, by="class", *, ax=None):
        """Draw the points.

        Parameters
        ----------
        by : {"class", "split"}, default="class"
            "class": one panel. Colour and marker show the class; train points are filled, test points hollow.
            "split": one panel per class (or one in all if they are unknown), with its train and test points in
            two colours over all others in grey.
        ax : matplotlib Axes or sequence of Axes, default=None
            One Axes into which all panels are laid out, or one Axes per panel. None: a new figure.

        Returns
        -------
        display : EmbeddingDisplay

        Raises
        ------
        ValueError
            If ``by`` is unknown, or ``ax`` does not hold one Axes per panel.
        """
        if by not in ("class", "split"):
            raise ValueError(f"by={by!r} is unknown; use 'class' or 'split'.")
        labels = np.asarray([""] * len(self.points) if self.labels is None else self.labels)
        split = np.asarray(["train"] * len(self.points) if self.split is None else self.split)
        draw = self._draw_classes if by == "class" else self._draw_splits
        draw(ax, labels, np.unique(labels), split, [name for name in SPLIT_STYLES if name in split])
        self.figure_ = self.ax_.figure
        for panel in self.axes_:  # numbers mean nothing after t-SNE, but distances do
            panel.set(xticks=[], yticks=[])
            panel.set_aspect("equal", adjustable="datalim")
        return self

    @classmethod
    def from_estimator(cls, estimator, X_train, y_train=None, X_test=None, y_test=None, **kwargs):
        """Embed recordings with a fitted transformer, project the embeddings and draw them.

        Parameters
        ----------
        estimator : fitted transformer or Pipeline
            If a Pipeline ends in a classifier, only the steps before it are used.
        X_train : array-like, recordings or whatever the estimator transforms
        y_train : array-like of shape (n_train,), default=None
            Classes. None: unknown.
        X_test, y_test : test data, as X_train and y_train, default=None
        **kwargs : further parameters of :meth:`from_embeddings` and :meth:`plot`

        Returns
        -------
        display : EmbeddingDisplay

        Raises
        ------
        NotFittedError, TypeError, ValueError
            If the estimator is not fitted or has no ``transform``, or as in :meth:`from_embeddings`.
        """
        train, test = (None if X is None else embed(estimator, X) for X in (X_train, X_test))
        return cls.from_embeddings(train, y_train, test, y_test, **kwargs)

    @classmethod
    @check_parameters(max_points=[integers(1, 10**9), None], random_state=["random_state"])
    def from_embeddings(
        cls,
        train,
        y_train=None,
        test=None,
        y_test=None,
        *,
        projection=None,
        max_points=5000,
        random_state=None,
        **plot_kw,
    ):
        """Project embeddings, or any features, and draw them.

        Parameters
        ----------
        train : array-like of shape (n_train, n_features)
            Embeddings. Rows with NaN, such as those of unusable recordings, are left out with a warning.
        test : array-like of shape (n_test, n_features), default=None
            Embeddings of test data. None: there are none.
        y_train, y_test : array-like of shape (n_train,) or (n_test,), default=None
            Their classes. None: unknown.
        projection : estimator with fit_transform, default=None
            Its clone maps all standardised rows, train and test together, to two columns, as ``PCA(2)`` does.
            None: a PCA to 50 features if there are more, then t-SNE, initialised with the principal components
            and with a perplexity of 30 (less for fewer than 91 points).
        max_points : int, default=5000
            Maximum number of points per split; larger splits are sampled at random. None: no limit. t-SNE of
            10,000 points takes a minute or two.
        random_state : int, RandomState instance or None, default=None
            Seeds the sample and t-SNE, but not a ``projection`` of your own.
        **plot_kw : parameters of :meth:`plot`

        Returns
        -------
        display : EmbeddingDisplay

        Raises
        ------
        ValueError
            If shapes do not match, only one split has classes, or all rows hold NaN.
        """
        import_extra("matplotlib", "plot")  # raises before long computations
        embeddings = {"train": train} if test is None else {"train": train, "test": test}
        for split, X in embeddings.items():
            embeddings[split] = check_array(X, dtype=DTYPES, ensure_all_finite=False, input_name=split)
        classes = _check_classes(embeddings, {"train": y_train, "test": y_test})
        widths = [X.shape[1] for X in embeddings.values()]
        if widths[0] != widths[-1]:
            raise ValueError(f"train has {widths[0]} features, but test has {widths[1]}; they must agree.")
        random, rows = check_random_state(random_state), {}
        for split, X in embeddings.items():
            usable = find_finite_rows(X, split)
            if max_points is not None and len(usable) > max_points:
                usable = np.sort(random.choice(usable, max_points, replace=False))
            rows[split] = usable
        together = np.concatenate([embeddings[split][chosen] for split, chosen in rows.items()])
        points, name = project(together, projection, random)
        return cls(
            points,
            labels=np.concatenate([classes[split][chosen] for split, chosen in rows.items()]) if classes else None,
            split=np.repeat(list(rows), [len(chosen) for chosen in rows.values()]),
            rows=np.concatenate(list(rows.values())),
            name=name,
        ).plot(**plot_kw)

    def _draw_classes(self, ax, labels, classes, split, splits):
        """Draw all classes into one panel."""
        n_columns = -(-len(classes) // 20)  # of the legend
        self.ax_, self.axes_ = make_panels(ax, [(0, 0)], figsize=(6.0 + 1.5 * n_columns, 5.5))
        panel, area = self.axes_[0], _marker_area(len(self.points), 5.0)
        styles = list(zip(classes, cycle(COLOURS), cycle(MARKERS), strict=False))
        for name in splits:
            face, width = ({}, 0) if name == "train" else ({"facecolors": "none"}, 1)
            for label, colour, marker in styles:
                wanted = (labels == label) & (split == name)
                style = {"facecolors": colour, "edgecolors": colour, "marker": marker, **face}
                panel.scatter(*self.points[wanted].T, s=area, alpha=0.8, linewidths=width, **style)
        counts = ", ".join(f"{(split == name).sum()} {name}" for name in splits)
        panel.set_title(f"points: {counts}")
        panel.set_xlabel(f"{self.name} 1", **PLAIN)
        panel.set_ylabel(f"{self.name} 2", **PLAIN)
        entries = {str(label): {"color": colour, "marker": marker} for label, colour, marker in styles}
        entries.pop("", None)  # of unknown classes
        if len(splits) > 1:
            filled = {"color": GREY, "marker": "o"}
            entries |= {"train (filled)": filled, "test (hollow)": {**filled, "markerfacecolor": "none"}}
        if entries:
            _list_styles(panel, entries, 1.01, ncols=n_columns)

    def _draw_splits(self, ax, labels, classes, split, splits):
        """Draw a panel for each class: its train and test points over the others."""
        n_panels = len(classes)
        # A grid that is wider than high, with as few empty cells as possible.
        candidates = range(int(np.ceil(np.sqrt(n_panels))), int(np.ceil(np.sqrt(2 * n_panels))) + 1)
        n_columns = min(candidates, key=lambda n: (-n_panels % n, n))
        cells = [divmod(i, n_columns) for i in range(n_panels)]
        side = 5.0 if n_panels == 1 else 2.3  # of a panel, in inches
        figsize = side * n_columns + 1.2, (side + 0.2) * (cells[-1][0] + 1)
        self.ax_, self.axes_ = make_panels(ax, cells, figsize=figsize)
        area = _marker_area(len(self.points), side)
        longest = max(1, *(len(str(label)) for label in classes))
        font = np.clip(size_in_points(self.axes_[0])[0] / (CHARACTER_WIDTH * longest), 5, 10)
        for label, panel in zip(classes, self.axes_, strict=True):
            panel.scatter(*self.points[labels != label].T, s=area / 2, **DOTS, **OTHERS_STYLE)
            for name in splits:
                wanted = (labels == label) & (split == name)
                panel.scatter(*self.points[wanted].T, s=area, label=name, **DOTS, **SPLIT_STYLES[name])
            panel.set_title(str(label), fontsize=font, **PLAIN)
        entries = {name: SPLIT_STYLES[name] for name in splits}
        entries |= {"other classes": OTHERS_STYLE} if n_panels > 1 else {}
        _list_styles(self.axes_[min(n_columns, n_panels) - 1], entries, 1.03, title=self.name)


def _list_styles(panel, entries, x, **options):
    """Put a legend of styles by label to the right of a panel, at x in units of its width."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linestyle="", label=label, **style) for label, style in entries.items()]
    place = {"loc": "upper left", "bbox_to_anchor": (x, 1), "borderaxespad": 0}
    add_legend(panel, handles, handletextpad=0.2, **place, **options)


def _marker_area(n_points, side):
    """Return a marker's area in square points, so that all cover about a third of a panel of ``side`` inches."""
    return float(np.clip((72 * side) ** 2 / 3 / n_points, 4, 40))


def _check_classes(embeddings, classes):
    """Return the classes of each split as arrays, or None if they are unknown."""
    known = [split for split in embeddings if classes[split] is not None]
    if not known:
        return None
    if len(known) < len(embeddings):
        raise ValueError(f"classes are given for {known[0]} only; pass both y_train and y_test, or neither.")
    classes = {split: check_labels(classes[split], f"y_{split}") for split in known}
    for split, labels in classes.items():
        n_rows = len(embeddings[split])
        if len(labels) != n_rows:
            raise ValueError(f"y_{split} has {len(labels)} entries, but {split} has {n_rows} rows.")
    unique_labels(*classes.values())  # raises for invalid classes, or a mixture of strings and numbers
    return classes


def embed(estimator, X):
    """Transform X with a fitted estimator or, if a pipeline ends in a classifier, with the steps before it."""
    check_is_fitted(estimator)
    if isinstance(estimator, Pipeline) and len(estimator) > 1 and not hasattr(estimator, "transform"):
        estimator = estimator[:-1]
    if not hasattr(estimator, "transform"):
        raise TypeError(
            f"{type(estimator).__name__} has no transform, so it does not embed; pass a CPCTransformer, "
            "another transformer, or a Pipeline that begins with one."
        )
    return estimator.transform(X)


def find_finite_rows(X, name):
    """Return the indices of rows without NaN and infinity; warn about the others."""
    finite = np.flatnonzero(np.isfinite(X).all(axis=1))
    n_others = len(X) - len(finite)
    if n_others:
        warn(f"{n_others} of {len(X)} rows of {name} are left out: they hold NaN or infinity.")
    return finite


def project(rows, projection, random):
    """Standardise the columns; return positions of shape (n_rows, 2), and the name of the projection."""
    if not len(rows):
        raise ValueError("every row of the embeddings holds NaN; there is nothing to draw.")
    rows = StandardScaler().fit_transform(rows)
    if projection is not None:
        points = np.asarray(clone(projection, safe=False).fit_transform(rows))
        if points.shape != (len(rows), 2):
            raise ValueError(f"projection={projection!r} gave an array of shape {points.shape}, not two columns.")
        return points, type(projection).__name__
    if len(rows) < 4 or not rows.any():  # too few points for t-SNE, or all equal
        return np.pad(rows, ((0, 0), (0, 1)))[:, :2], "t-SNE"
    seed = random.randint(np.iinfo(np.int32).max)
    if rows.shape[1] > N_COMPONENTS:
        rows = PCA(min(N_COMPONENTS, len(rows)), random_state=seed).fit_transform(rows)
    init = "pca" if rows.shape[1] > 1 else "random"
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init=init, random_state=seed).fit_transform(rows), "t-SNE"
