"""ConfusionDisplay: which class is taken for which, how often each occurs and how often it is predicted."""

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import check_is_fitted, column_or_1d

from ._labels import as_labels
from ._panels import axes_or_new, beside, size_of
from ._style import CHARACTER, COLOURS, QUIET, text_colour_on

SMALLEST = 5.0  # size in points below which numbers cannot be read
GAP = 6.0  # between the matrix and the bars, in points


class ConfusionDisplay:
    """Confusion matrix as shares of all rows, with its marginals (the report's section 2.3.2, figures 6 to 9).

    Rows are true classes, columns predicted ones, and the whole sums to 1, so that the diagonal sums to
    the accuracy. Bars on the right tell how often each class occurs, bars on top how often it is
    predicted: whether the classifier prefers some classes.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    confusion_matrix : ndarray of shape (n_classes, n_classes)
        Share of all rows that have this true class (row) and that prediction (column); sums to 1.
    display_labels : array-like of shape (n_classes,), default=None
        Names of the classes. None: their numbers.

    Attributes
    ----------
    accuracy : float
        Trace of the matrix.
    true_shares : ndarray of shape (n_classes,)
        How often each class occurs: sums of the rows.
    predicted_shares : ndarray of shape (n_classes,)
        How often each class is predicted: sums of the columns.
    ax_, figure_ : matplotlib Axes and Figure
        Of the matrix, after plotting.
    axes_ : ndarray of matplotlib Axes
        The matrix, then, if they are drawn, the bars on top and those on the right.
    im_ : matplotlib AxesImage
        The matrix.
    text_ : object ndarray of shape (n_classes, n_classes) or None
        What is written into the cells, None where nothing is.

    See Also
    --------
    sklearn.metrics.ConfusionMatrixDisplay : Counts, or shares of each row or column.

    Examples
    --------
    >>> from sklearn_cpc.displays import ConfusionDisplay
    >>> display = ConfusionDisplay.from_predictions(
    ...     ["bird", "bird", "rain", "rain"], ["bird", "rain", "rain", "rain"]
    ... )
    >>> display.confusion_matrix
    array([[0.25, 0.25],
           [0.  , 0.5 ]])
    >>> display.accuracy
    0.75
    >>> display.predicted_shares
    array([0.25, 0.75])
    """

    def __init__(self, confusion_matrix, *, display_labels=None):
        self.confusion_matrix = confusion_matrix
        self.display_labels = display_labels

    def plot(
        self,
        *,
        ax=None,
        include_values=None,
        values_format=None,
        cmap="cividis",
        xticks_rotation=None,
        marginals=True,
        colorbar=None,
    ):
        """Draw the matrix.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. Bars and title lie outside of these axes: make their figure with
            ``layout="constrained"``, or leave room. None: a new figure that grows with the number of classes.
        include_values : bool, default=None
            Whether to write the shares into the cells. None: if they can be read.
        values_format : str, default=None
            Format of the shares. None: two decimals, from six classes on three, without the leading
            zero, and nothing where that would be zero.
        cmap : str or matplotlib Colormap, default="cividis"
            Colours of the cells, from 0 to the largest share.
        xticks_rotation : float, default=None
            Rotation of the names of the columns, in degrees. None: as much as they need.
        marginals : bool, default=True
            Whether to draw the bars.
        colorbar : bool, default=None
            Whether to draw a colour bar. None: if the cells show no values.

        Returns
        -------
        display : ConfusionDisplay
        """
        self.ax_ = ax = axes_or_new(ax, self._figsize(), layout="compressed")
        self.figure_ = ax.figure
        length = min(size_of(ax)) * (0.75 if marginals else 0.9)  # of the matrix, about, in points
        cell = length / len(self.confusion_matrix)
        self.im_ = ax.imshow(self.confusion_matrix, cmap=cmap, vmin=0, interpolation="nearest")
        texts = self._texts(values_format)
        size = min(10.0, cell / (CHARACTER * max(len(text) for text in [*texts.ravel(), "."])))
        include_values = size >= SMALLEST if include_values is None else include_values
        self.text_ = self._write(texts, size) if include_values else None
        self._name_classes(cell, xticks_rotation)
        room = 0.0, 0.0  # above and on the right
        self.axes_ = np.array([ax], dtype=object)
        if marginals:
            room = self._draw_marginals(np.clip(0.13 * length, 20, 50), size if include_values else None)
        if colorbar or (colorbar is None and not include_values):
            cax = beside(ax, "right", room[1] + 2 * GAP, 10)
            self.figure_.colorbar(self.im_, cax=cax, label="share of all rows")
        ax.set_title(f"accuracy {self.accuracy:.3f}", pad=room[0] + GAP)
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        labels=None,
        sample_weight=None,
        display_labels=None,
        ax=None,
        include_values=None,
        values_format=None,
        cmap="cividis",
        xticks_rotation=None,
        marginals=True,
        colorbar=None,
    ):
        """Draw the confusion matrix of a fitted classifier.

        Parameters
        ----------
        estimator : classifier or Pipeline that ends in one
            Fitted.
        X : array-like, recordings or whatever the estimator predicts from
        y : array-like of shape (n_samples,)
            True classes.
        labels, sample_weight, display_labels
            See :meth:`from_predictions`.
        ax, include_values, values_format, cmap, xticks_rotation, marginals, colorbar
            See :meth:`plot`.

        Returns
        -------
        display : ConfusionDisplay

        Raises
        ------
        NotFittedError
            If the estimator has not been fitted.
        ValueError
            If it is no classifier, or for the reasons of :meth:`from_predictions`.
        """
        check_is_fitted(estimator)
        if not is_classifier(estimator):
            raise ValueError(
                f"estimator is a {type(estimator).__name__}, but a confusion matrix needs a classifier; "
                "pass a LinearProbe or a Pipeline that ends in one."
            )
        return cls.from_predictions(
            y,
            estimator.predict(X),
            labels=labels,
            sample_weight=sample_weight,
            display_labels=display_labels,
            ax=ax,
            include_values=include_values,
            values_format=values_format,
            cmap=cmap,
            xticks_rotation=xticks_rotation,
            marginals=marginals,
            colorbar=colorbar,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true,
        y_pred,
        *,
        labels=None,
        sample_weight=None,
        display_labels=None,
        ax=None,
        include_values=None,
        values_format=None,
        cmap="cividis",
        xticks_rotation=None,
        marginals=True,
        colorbar=None,
    ):
        """Draw the confusion matrix of predictions, those of a cross-validation for example.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            True classes.
        y_pred : array-like of shape (n_samples,)
            Predicted classes.
        labels : array-like of shape (n_classes,), default=None
            Classes in the order of rows and columns; may hold some that do not occur. None: those that
            occur, sorted.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the shares. None: all weigh the same.
        display_labels : array-like of shape (n_classes,), default=None
            Names to draw. None: the labels themselves.
        ax, include_values, values_format, cmap, xticks_rotation, marginals, colorbar
            See :meth:`plot`.

        Returns
        -------
        display : ConfusionDisplay

        Raises
        ------
        ValueError
            If lengths differ, there are no rows or some without a class, classes occur that ``labels``
            lacks, or weights are negative or sum to 0.
        """
        y_true, y_pred = as_labels(y_true, "y_true"), as_labels(y_pred, "y_pred")
        if not len(y_true):
            raise ValueError("y_true is empty; there is nothing to count.")
        _check_length("y_pred", y_pred, y_true)
        labels = _check_names(labels, unique_labels(y_true, y_pred))
        weight = _check_weight(sample_weight, y_true)
        shares = _shares(y_true, y_pred, labels, weight)
        display_labels = labels if display_labels is None else np.asarray(display_labels)
        if len(display_labels) != len(labels):
            raise ValueError(
                f"display_labels has {len(display_labels)} names, but there are {len(labels)} classes, "
                f"{labels.tolist()}; name each."
            )
        return cls(shares, display_labels=display_labels).plot(
            ax=ax,
            include_values=include_values,
            values_format=values_format,
            cmap=cmap,
            xticks_rotation=xticks_rotation,
            marginals=marginals,
            colorbar=colorbar,
        )

    @property
    def accuracy(self):
        """Share of rows that are predicted right."""
        return float(np.trace(self.confusion_matrix))

    @property
    def true_shares(self):
        """How often each class occurs."""
        return self.confusion_matrix.sum(axis=1)

    @property
    def predicted_shares(self):
        """How often each class is predicted."""
        return self.confusion_matrix.sum(axis=0)

    @property
    def _names(self):
        n_classes = len(self.confusion_matrix)
        return [str(name) for name in (range(n_classes) if self.display_labels is None else self.display_labels)]

    def _figsize(self):
        """Width and height of a new figure in inches: room for the cells and the names."""
        matrix = np.clip(0.42 * len(self.confusion_matrix), 2.5, 9.5)
        names = 0.075 * min(30, max(map(len, self._names)))
        return 1.35 * matrix + names + 0.7, 1.3 * matrix + 0.7 * names + 0.6

    def _texts(self, values_format):
        """Say the shares, a string for each cell."""
        say = self._short if values_format is None else lambda share: format(share, values_format)
        return np.array([[say(share) for share in row] for row in self.confusion_matrix], dtype=object)

    def _short(self, share):
        """Say a share in few characters: nothing if it would be zero."""
        text = f"{share:.{2 if len(self.confusion_matrix) < 6 else 3}f}"
        return text.removeprefix("0") if float(text) else ""

    def _write(self, texts, size):
        """Write into the cells, in black or white."""
        written = np.empty_like(texts)
        for (i, j), text in np.ndenumerate(texts):
            colour = text_colour_on(self.im_.to_rgba(self.confusion_matrix[i, j]))
            if text:
                written[i, j] = self.ax_.text(j, i, text, ha="center", va="center", color=colour, fontsize=size)
        return written

    def _name_classes(self, cell, rotation):
        """Put names on the axes; those of the columns slanted where they would run into each other."""
        names = self._names
        size = np.clip(0.85 * cell, 4.0, 10.0)
        if rotation is None:
            fits = max(map(len, names)) * CHARACTER * size < cell
            rotation = 0 if fits else 45 if cell > 1.3 * size else 90
        slanted = {"ha": "right", "va": "center" if rotation % 90 == 0 else "top", "rotation_mode": "anchor"}
        style = {"fontsize": size, "rotation": rotation, **(slanted if rotation % 360 else {})}
        self.ax_.set_xticks(range(len(names)), names, **style)
        self.ax_.set_yticks(range(len(names)), names, fontsize=size)
        self.ax_.set(xlabel="predicted class", ylabel="true class")

    def _draw_marginals(self, length, text_size):
        """Draw the sums of columns on top and of rows on the right; a dotted line is where all would be equal.

        The longest bar has a length in points; returns the room that all take, above and on the right.
        """
        height, width = length + 1.5 * (text_size or 4), length + 3 * (text_size or 2)
        top = beside(self.ax_, "top", GAP, height, sharex=self.ax_)
        right = beside(self.ax_, "right", GAP, width, sharey=self.ax_)
        self.axes_ = np.array([self.ax_, top, right], dtype=object)
        positions, style = np.arange(len(self.confusion_matrix)), {"color": COLOURS[0], "zorder": 2}
        largest = max(self.predicted_shares.max(), self.true_shares.max())
        top.set_ylim(0, largest * height / length)
        right.set_xlim(0, largest * width / length)
        for draw_line in (top.axhline, right.axvline):
            draw_line(1 / len(positions), color=QUIET, linestyle=":", linewidth=1.2, zorder=1)
        self._measure(top.bar(positions, self.predicted_shares, width=0.8, **style), top.yaxis, text_size)
        self._measure(right.barh(positions, self.true_shares, height=0.8, **style), right.xaxis, text_size)
        top.set_ylabel("predicted", fontsize="small")
        right.set_xlabel("true", fontsize="small")
        right.xaxis.set(label_position="top", ticks_position="top")
        top.tick_params(axis="x", labelbottom=False, bottom=False)
        right.tick_params(axis="y", labelleft=False, left=False)
        top.spines[["top", "right"]].set_visible(False)
        right.spines[["bottom", "right"]].set_visible(False)
        return GAP + height, GAP + width

    def _measure(self, bars, axis, text_size):
        """Say how long bars are: in numbers at their ends or, where those could not be read, by ticks."""
        if text_size is None:
            longest = max(bars.datavalues)
            axis.set_ticks([0, longest], ["0", f"{longest:.2g}"], fontsize="small")
        else:
            axis.set_ticks([])
            blank = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # over the dotted line
            axis.axes.bar_label(
                bars, [self._short(share) for share in bars.datavalues], padding=2, fontsize=text_size, bbox=blank
            )


def _shares(y_true, y_pred, labels, weight):
    """Share of the weight of all rows by true and predicted class."""
    order = np.argsort(labels)
    rows, columns = (order[np.searchsorted(labels, y, sorter=order)] for y in (y_true, y_pred))
    total = np.zeros((len(labels), len(labels)))
    np.add.at(total, (rows, columns), weight)
    return total / weight.sum()


def _check_length(name, values, y_true):
    if len(values) != len(y_true):
        raise ValueError(
            f"{name} has {len(values)} entries, but y_true has {len(y_true)}; both must describe the same rows."
        )


def _check_names(labels, present):
    """Return the classes in order, or raise if some that occur are missing."""
    if labels is None:
        return present
    labels = np.asarray(labels)
    if len(np.unique(labels)) != len(labels):
        raise ValueError(f"labels={labels.tolist()} names a class twice; name each once.")
    missing = np.setdiff1d(present, labels).tolist()
    if missing:
        raise ValueError(
            f"labels={labels.tolist()} lacks {missing}, which occur in y_true or y_pred; add them, or leave those "
            "rows out."
        )
    return labels


def _check_weight(sample_weight, y_true):
    """Return the weights as float, ones if there are none."""
    if sample_weight is None:
        return np.ones(len(y_true))
    weight = column_or_1d(sample_weight).astype(float)
    _check_length("sample_weight", weight, y_true)
    if not np.isfinite(weight).all() or (weight < 0).any() or not weight.sum():
        raise ValueError("sample_weight must hold finite weights of 0 or more, and one above 0 at least.")
    return weight
