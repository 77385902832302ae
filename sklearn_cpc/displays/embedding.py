"""EmbeddingDisplay: embeddings of train and test data in one plane, by class or by split."""

import warnings
from numbers import Integral

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import check_array, check_is_fitted, check_scalar

from ._labels import as_labels
from ._panels import panels_in, size_of
from ._style import CHARACTER, COLOURS, QUIET, colour_of, marker_of

N_COMPONENTS = 50  # of the PCA before t-SNE: what the distances in wide data come to, at a fraction of the cost
PERPLEXITY = 30.0  # scikit-learn's default, for all but few points
SPLITS = ("train", "test")
SPLIT_COLOURS = {"train": COLOURS[0], "test": COLOURS[1]}


class EmbeddingDisplay:
    """Embeddings of train and test data, projected together onto a plane.

    The report's section 2.3 and figures 10 to 13 and 17 to 21. Each class should form a cluster if the
    features serve to classify; and if a class's train and test points lie apart, the features do not
    carry over from one to the other. Both can be seen only where train and test share one projection.

    It is recommended to use :meth:`from_estimator` or :meth:`from_embeddings`.

    Parameters
    ----------
    points : float ndarray of shape (n_points, 2)
        Positions.
    labels : ndarray of shape (n_points,), default=None
        Class of each point. None: unknown.
    split : ndarray of shape (n_points,), default=None
        "train" or "test" for each point. None: "train".
    rows : int ndarray of shape (n_points,), default=None
        Row of each point in the embeddings of its split. None: unknown.
    name : str, default="dimension"
        Name of the projection, for the axes.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        What was drawn into, after plotting. If there are several panels, they lie within ``ax_``.
    axes_ : object ndarray of matplotlib Axes, of shape (n_panels,)
        The panels.

    See Also
    --------
    sklearn.manifold.TSNE : The projection.

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
            "class": one panel, where colour and marker tell the class, and train points are filled and test
            points hollow. "split": a panel for each class, its train and test points in two colours over
            all others in grey; one panel in all if the classes are not known.
        ax : matplotlib Axes or sequence of them, default=None
            Axes into which all panels are laid, or as many as there are panels. None: a new figure.

        Returns
        -------
        display : EmbeddingDisplay

        Raises
        ------
        ValueError
            If ``by`` is unknown, or ``ax`` holds another number of axes than there are panels.
        """
        draw = {"class": self._plot_classes, "split": self._plot_splits}
        if by not in draw:
            raise ValueError(f"by={by!r} is unknown; use 'class' or 'split'.")
        draw[by](ax)
        self.figure_ = self.ax_.figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X_train,
        y_train=None,
        X_test=None,
        y_test=None,
        *,
        projection=None,
        max_points=5000,
        random_state=None,
        by="class",
        ax=None,
    ):
        """Embed recordings with a fitted transformer, project the embeddings and draw them.

        Parameters
        ----------
        estimator : transformer, or Pipeline
            Fitted. If a Pipeline ends in a classifier, the steps before it embed.
        X_train : array-like, recordings or whatever the estimator transforms
        y_train : array-like of shape (n_train,), default=None
            Classes. None: unknown.
        X_test : as X_train, default=None
            None: there are no test points.
        y_test : array-like of shape (n_test,), default=None
            Classes of ``X_test``.
        projection, max_points, random_state
            See :meth:`from_embeddings`.
        by, ax
            See :meth:`plot`.

        Returns
        -------
        display : EmbeddingDisplay

        Raises
        ------
        NotFittedError
            If the estimator has not been fitted.
        TypeError
            If it has no ``transform``.
        ValueError
            For the reasons of :meth:`from_embeddings`.
        """
        check_is_fitted(estimator)
        transform = _transformer_of(estimator).transform
        return cls.from_embeddings(
            transform(X_train),
            y_train,
            None if X_test is None else transform(X_test),
            y_test,
            projection=projection,
            max_points=max_points,
            random_state=random_state,
            by=by,
            ax=ax,
        )

    @classmethod
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
        by="class",
        ax=None,
    ):
        """Project embeddings, or any features, and draw them.

        Parameters
        ----------
        train : array-like of shape (n_train, n_features)
            Embeddings. Rows with NaN, those of unusable recordings, are left out with a warning.
        y_train : array-like of shape (n_train,), default=None
            Their classes. None: unknown.
        test : array-like of shape (n_test, n_features), default=None
            Embeddings of test data. None: there are none.
        y_test : array-like of shape (n_test,), default=None
            Their classes.
        projection : estimator with fit_transform, default=None
            Maps all rows, train and test together, standardised, to two columns, as ``PCA(2)`` does. A clone
            of it is used. None: t-SNE with a perplexity of 30 (less for fewer than 91 points), started from
            the principal components, after a PCA to 50 features if there are more.
        max_points : int, default=5000
            Points of train and of test each (section 2.3); more are drawn from at random. None: no limit.
            t-SNE of 10,000 points takes a minute or two.
        random_state : int, RandomState instance or None, default=None
            Seeds the draw and t-SNE; a projection of your own has its own seed.
        by, ax
            See :meth:`plot`.

        Returns
        -------
        display : EmbeddingDisplay

        Raises
        ------
        ValueError
            If lengths or widths differ, classes are known of one split only, no row is without NaN, or the
            projection does not give two columns.
        """
        embeddings = {"train": train} if test is None else {"train": train, "test": test}
        embeddings = {name: _as_rows(rows, name) for name, rows in embeddings.items()}
        classes = _check_classes(embeddings, {"train": y_train, "test": y_test})
        _check_width(embeddings)
        random = check_random_state(random_state)
        chosen = {name: _choose(rows, name, max_points, random) for name, rows in embeddings.items()}
        if not any(map(len, chosen.values())):
            raise ValueError("every row of the embeddings holds NaN; there is nothing to draw.")
        together = np.concatenate([embeddings[name][rows] for name, rows in chosen.items()])
        points, name = _project(StandardScaler().fit_transform(together), projection, random)
        return cls(
            points,
            labels=None if classes is None else np.concatenate([classes[s][rows] for s, rows in chosen.items()]),
            split=np.repeat(list(chosen), [len(rows) for rows in chosen.values()]),
            rows=np.concatenate(list(chosen.values())),
            name=name,
        ).plot(by, ax=ax)

    @property
    def _splits(self):
        """Return the splits there are, and which of them each point is of."""
        split = np.full(len(self.points), "train") if self.split is None else np.asarray(self.split)
        return [name for name in SPLITS if (split == name).any()], split

    @property
    def _classes(self):
        """Return the classes, and which of them each point is of; one class without a name if unknown."""
        labels = np.full(len(self.points), "") if self.labels is None else np.asarray(self.labels)
        return np.unique(labels), labels

    def _plot_classes(self, ax):
        """Draw all classes into one panel."""
        (classes, labels), (splits, split) = self._classes, self._splits
        n_columns = -(-len(classes) // 20)
        self.ax_, self.axes_ = panels_in(ax, [(0, 0)], figsize=(6.0 + 1.5 * n_columns, 5.5))
        panel, area = self.axes_[0], _marker_area(len(self.points), 5.0)
        for name in splits:
            for i, label in enumerate(classes):
                style = {"color": colour_of(i)} if name == "train" else _hollow(colour_of(i))
                self._scatter(panel, (labels == label) & (split == name), s=area, marker=marker_of(i), **style)
        self._finish(panel)
        panel.set(title=self._say_counts(), xlabel=f"{self.name} 1", ylabel=f"{self.name} 2")
        entries = [(str(label), marker_of(i), colour_of(i), True) for i, label in enumerate(classes) if str(label)]
        if len(splits) > 1:
            entries += [("train (filled)", "o", QUIET, True), ("test (hollow)", "o", QUIET, False)]
        if entries:
            panel.legend(
                handles=[_handle(*entry) for entry in entries],
                loc="upper left",
                bbox_to_anchor=(1.01, 1),
                borderaxespad=0,
                ncols=n_columns,
                fontsize="small",
                handletextpad=0.2,
            )

    def _plot_splits(self, ax):
        """Draw a panel for each class: its train and test points over the others."""
        (classes, labels), (splits, split) = self._classes, self._splits
        n_columns = _n_columns(len(classes))
        cells = [divmod(i, n_columns) for i in range(len(classes))]
        n_rows = cells[-1][0] + 1
        side = 5.0 if len(classes) == 1 else 2.3
        figsize = side * n_columns + 1.2, (side + 0.2) * n_rows
        self.ax_, self.axes_ = panels_in(ax, cells, figsize=figsize)
        area = _marker_area(len(self.points), side)
        longest = max(len(str(label)) for label in classes)
        size = np.clip(size_of(self.axes_[0])[0] / (CHARACTER * max(1, longest)), 5, 10)
        for label, panel in zip(classes, self.axes_, strict=True):
            self._scatter(panel, labels != label, s=area / 2, color="0.85", marker="o")
            for name in splits:
                wanted = (labels == label) & (split == name)
                style = {"color": SPLIT_COLOURS[name], "marker": {"train": "o", "test": "^"}[name]}
                self._scatter(panel, wanted, s=area, label=name, **style)
            self._finish(panel)
            panel.set_title(str(label), fontsize=size)
        entries = [(name, {"train": "o", "test": "^"}[name], SPLIT_COLOURS[name], True) for name in splits]
        entries += [("other classes", "o", "0.85", True)] if len(classes) > 1 else []
        self.axes_[min(n_columns, len(classes)) - 1].legend(
            handles=[_handle(*entry) for entry in entries],
            title=self.name,
            loc="upper left",
            bbox_to_anchor=(1.03, 1),
            borderaxespad=0,
            fontsize="small",
            handletextpad=0.2,
        )

    def _scatter(self, panel, wanted, **style):
        panel.scatter(*self.points[wanted].T, linewidths=style.pop("linewidths", 0), alpha=0.8, **style)

    def _finish(self, panel):
        """Take the numbers off the axes, which mean nothing after t-SNE, and show distances as they are."""
        panel.set(xticks=[], yticks=[])
        panel.set_aspect("equal", adjustable="datalim")

    def _say_counts(self):
        splits, split = self._splits
        return "points: " + ", ".join(f"{(split == name).sum()} {name}" for name in splits)


# Drawing


def _hollow(colour):
    return {"facecolors": "none", "edgecolors": colour, "linewidths": 1.0}


def _handle(label, marker, colour, filled):
    """Entry of a legend."""
    from matplotlib.lines import Line2D

    fill = colour if filled else "none"
    return Line2D([], [], linestyle="", marker=marker, color=colour, markerfacecolor=fill, label=label)


def _n_columns(n_panels):
    """Columns of a grid that is wider than high, with as few empty places as can be."""
    candidates = range(int(np.ceil(np.sqrt(n_panels))), int(np.ceil(np.sqrt(2 * n_panels))) + 1)
    return min(candidates, key=lambda n_columns: (-n_panels % n_columns, n_columns))


def _marker_area(n_points, side):
    """Area of a marker in square points, so that all together cover about a third of a panel, in inches."""
    return float(np.clip((72 * side) ** 2 / 3 / n_points, 4, 40))


# Checking and projecting


def _transformer_of(estimator):
    """Return what embeds: the estimator, or the steps of a Pipeline before its classifier."""
    if isinstance(estimator, Pipeline) and not hasattr(estimator, "transform"):
        estimator = estimator[:-1]
    if not hasattr(estimator, "transform") or (isinstance(estimator, Pipeline) and not len(estimator)):
        raise TypeError(
            f"{type(estimator).__name__} has no transform, so it does not embed; pass a CPCTransformer, another "
            "transformer, or a Pipeline that begins with one."
        )
    return estimator


def _as_rows(rows, name):
    """Embeddings as a float array, NaN and infinite values allowed."""
    return check_array(rows, dtype=[np.float64, np.float32], ensure_all_finite=False, input_name=name)


def _check_width(embeddings):
    widths = {name: rows.shape[1] for name, rows in embeddings.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(
            f"train has {widths['train']} features, but test has {widths['test']}; embed both by one estimator."
        )


def _check_classes(embeddings, classes):
    """Return the classes of each split as arrays, or None if they are not known."""
    known = [name for name in embeddings if classes[name] is not None]
    if not known:
        return None
    if len(known) < len(embeddings):
        raise ValueError(f"classes are given of {known[0]} only; pass both y_train and y_test, or none.")
    classes = {name: as_labels(classes[name], f"y_{name}") for name in known}
    for name, labels in classes.items():
        if len(labels) != len(embeddings[name]):
            raise ValueError(
                f"y_{name} has {len(labels)} entries, but {name} has {len(embeddings[name])} rows; pass one class "
                "for each row."
            )
    unique_labels(*classes.values())  # raises for what is no class, or a mixture of strings and numbers
    return classes


def _choose(rows, name, max_points, random):
    """Rows to draw: those without NaN, at most ``max_points`` of them."""
    usable = np.flatnonzero(np.isfinite(rows).all(axis=1))
    if len(usable) < len(rows):
        warnings.warn(
            f"{len(rows) - len(usable)} of {len(rows)} rows of {name} are left out: they hold NaN or infinity.",
            stacklevel=4,
        )
    if max_points is None or len(usable) <= check_scalar(max_points, "max_points", Integral, min_val=1):
        return usable
    return np.sort(random.choice(usable, max_points, replace=False))


def _project(rows, projection, random):
    """Return positions of shape (n_rows, 2), and what to call their axes."""
    if projection is None:
        return _project_by_tsne(rows, random), "t-SNE"
    points = np.asarray(clone(projection, safe=False).fit_transform(rows))
    if points.shape != (len(rows), 2):
        raise ValueError(
            f"projection={projection!r} gave an array of shape {points.shape}; it must give 2 columns, "
            f"{(len(rows), 2)}."
        )
    return points, type(projection).__name__


def _project_by_tsne(rows, random):
    """Positions by t-SNE, of principal components if there are many features."""
    if len(rows) < 4 or not rows.any():  # too few for neighbourhoods, or all alike
        return np.pad(rows, ((0, 0), (0, 1)))[:, :2]
    seed = random.randint(np.iinfo(np.int32).max)
    if rows.shape[1] > N_COMPONENTS:
        rows = PCA(min(N_COMPONENTS, len(rows)), random_state=seed).fit_transform(rows)
    init = "pca" if rows.shape[1] > 1 else "random"
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init=init, random_state=seed).fit_transform(rows)
