"""ConfusionDisplay: which class is taken for which, how often each occurs and how often it is predicted."""

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import check_consistent_length
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import check_is_fitted, column_or_1d

from ..evaluation.folds import check_labels
from ._drawing import (
    CHARACTER_WIDTH,
    COLOURS,
    GREY,
    PLAIN,
    add_beside,
    make_panels,
    size_in_points,
    text_colour_on,
)

SMALLEST_FONT = 5.0  # points; smaller numbers cannot be read
GAP = 6.0  # points between the matrix and the bars


class ConfusionDisplay:
    """Confusion matrix as shares of all rows, with its marginals (the report's section 2.3.2, figures 6 to 9).

    Rows are true classes and columns are predicted classes. All cells sum to 1, so the diagonal sums to the
    accuracy. Bars show how often each class occurs (right) and is predicted (top), and so whether the
    classifier prefers some classes. Create a display with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    confusion_matrix : ndarray of shape (n_classes, n_classes)
        Share of all rows that have this true class (row) and that prediction (column); sums to 1.
    display_labels : array-like of shape (n_classes,), default=None
        Names of the classes. None: their numbers.

    Attributes
    ----------
    accuracy : float
        Sum of the diagonal.
    true_shares, predicted_shares : ndarray of shape (n_classes,)
        How often each class occurs (sums of the rows) and is predicted (sums of the columns).
    ax_, figure_ : matplotlib Axes and Figure
        Axes of the matrix and their figure, after plotting.
    axes_ : ndarray of matplotlib Axes
        The matrix, then, if they are drawn, the bars on top and those on the right.
    im_ : matplotlib AxesImage of the matrix
    text_ : object ndarray of shape (n_classes, n_classes) or None
        Texts in the cells, None for empty cells. None if no values were written.

    See Also
    --------
    sklearn.metrics.ConfusionMatrixDisplay : Counts, or shares of each row or column.

    Examples
    --------
    >>> from sklearn_cpc.displays import ConfusionDisplay
    >>> display = ConfusionDisplay.from_predictions(["cat", "cat", "dog", "dog"], ["cat", "dog", "dog", "dog"])
    >>> display.confusion_matrix
    array([[0.25, 0.25],
           [0.  , 0.5 ]])
    >>> display.accuracy
    0.75
    """

    def __init__(self, confusion_matrix, *, display_labels=None):
        self.confusion_matrix = confusion_matrix
        self.display_labels = display_labels
        self.accuracy = float(np.trace(confusion_matrix))
        self.true_shares = confusion_matrix.sum(axis=1)
        self.predicted_shares = confusion_matrix.sum(axis=0)

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
        ax : matplotlib Axes or sequence of Axes, default=None
            One Axes, alone or in a sequence. Bars and title are outside it: create its figure with
            ``layout="constrained"``, or leave room. None: a new figure that grows with the number of classes.
        include_values : bool, default=None
            Whether to write the shares into the cells. None: only if they are large enough to read.
        values_format : str, default=None
            Format of the shares. None: two decimals (three from six classes on) without the leading zero, and
            nothing where the rounded share is zero.
        cmap : str or matplotlib Colormap, default="cividis"
            Colours of the cells, from 0 to the largest share.
        xticks_rotation : float, default=None
            Rotation of the column names, in degrees. None: only if the names need it.
        marginals : bool, default=True
            Whether to draw the bars.
        colorbar : bool, default=None
            Whether to draw a colour bar. None: only if no values are written into the cells.

        Returns
        -------
        display : ConfusionDisplay
        """
        n_classes = len(self.confusion_matrix)
        names = [str(name) for name in (range(n_classes) if self.display_labels is None else self.display_labels)]
        side = np.clip(0.42 * n_classes, 2.5, 9.5)  # of the matrix, in inches
        room = 0.075 * min(30, max(map(len, names)))  # for the names, in inches
        figsize = 1.35 * side + room + 0.7, 1.3 * side + 0.7 * room + 0.6
        self.ax_, self.axes_ = make_panels(ax, [(0, 0)], figsize=figsize, layout="compressed")
        self.figure_ = self.ax_.figure
        length = min(size_in_points(self.ax_)) * (0.75 if marginals else 0.9)  # of the drawn matrix, roughly
        cell = length / n_classes
        self.im_ = self.ax_.imshow(self.confusion_matrix, cmap=cmap, vmin=0, interpolation="nearest")
        write = self._format if values_format is None else lambda share: format(share, values_format)
        texts = np.array([[write(share) for share in row] for row in self.confusion_matrix], dtype=object)
        font = min(10.0, cell / (CHARACTER_WIDTH * max(1, *map(len, texts.ravel()))))
        include_values = font >= SMALLEST_FONT if include_values is None else include_values
        self.text_ = self._write_values(texts, font) if include_values else None
        self._name_classes(names, cell, xticks_rotation)
        height, width = 0.0, 0.0  # of the bars
        if marginals:
            height, width = self._draw_marginals(np.clip(0.13 * length, 20, 50), font if include_values else None)
        if colorbar or (colorbar is None and not include_values):
            cax = add_beside(self.ax_, "right", width + 2 * GAP, 10)
            self.figure_.colorbar(self.im_, cax=cax, label="share of all rows")
        self.ax_.set_title(f"accuracy {self.accuracy:.3f}", pad=height + GAP)
        return self

    @classmethod
    def from_estimator(cls, estimator, X, y, **kwargs):
        """Draw the confusion matrix of a fitted classifier.

        Parameters
        ----------
        estimator : fitted classifier, or Pipeline that ends in one
        X : array-like, recordings or whatever the estimator predicts from
        y : array-like of shape (n_samples,)
            True classes.
        **kwargs : further parameters of :meth:`from_predictions` and :meth:`plot`

        Returns
        -------
        display : ConfusionDisplay

        Raises
        ------
        NotFittedError, ValueError
            If the estimator is not fitted or not a classifier, or as in :meth:`from_predictions`.
        """
        check_is_fitted(estimator)
        if not is_classifier(estimator):
            raise ValueError(
                f"estimator is a {type(estimator).__name__}, but a confusion matrix needs a classifier; "
                "pass a LinearProbe or a Pipeline that ends in one."
            )
        return cls.from_predictions(y, estimator.predict(X), **kwargs)

    @classmethod
    def from_predictions(cls, y_true, y_pred, *, labels=None, sample_weight=None, display_labels=None, **plot_kw):
        """Draw the confusion matrix of predictions, for example those of a cross-validation.

        Parameters
        ----------
        y_true, y_pred : array-like of shape (n_samples,)
            True and predicted classes.
        labels : array-like of shape (n_classes,), default=None
            Classes in the order of rows and columns; some may not occur. None: those that occur, sorted.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the shares. None: equal weights.
        display_labels : array-like of shape (n_classes,), default=None
            Names of the classes in the figure. None: the labels themselves.
        **plot_kw : parameters of :meth:`plot`

        Returns
        -------
        display : ConfusionDisplay

        Raises
        ------
        ValueError
            If lengths differ, rows or classes are missing, or weights are negative or sum to 0.
        """
        y_true, y_pred = check_labels(y_true, "y_true"), check_labels(y_pred, "y_pred")
        if not len(y_true):
            raise ValueError("y_true is empty; there is nothing to count.")
        weight = np.ones(len(y_true)) if sample_weight is None else column_or_1d(sample_weight).astype(float)
        check_consistent_length(y_true, y_pred, weight)
        if not np.isfinite(weight).all() or weight.min() < 0 or not weight.sum():
            raise ValueError("sample_weight must hold finite weights of 0 or more, at least one of them above 0.")
        present = unique_labels(y_true, y_pred)
        labels = present if labels is None else np.asarray(labels)
        if len(np.unique(labels)) != len(labels):
            raise ValueError(f"labels={labels.tolist()} names a class twice; name each class once.")
        if missing := np.setdiff1d(present, labels).tolist():
            raise ValueError(f"labels={labels.tolist()} lacks {missing}, which occur in the data; add them.")
        display_labels = labels if display_labels is None else np.asarray(display_labels)
        if len(display_labels) != len(labels):
            names = f"display_labels has {len(display_labels)} names"
            raise ValueError(f"{names}, but there are {len(labels)} classes, {labels.tolist()}; name each class.")
        order = np.argsort(labels)
        rows, columns = (order[np.searchsorted(labels, y, sorter=order)] for y in (y_true, y_pred))
        total = np.zeros((len(labels), len(labels)))
        np.add.at(total, (rows, columns), weight)
        return cls(total / weight.sum(), display_labels=display_labels).plot(**plot_kw)

    def _format(self, share):
        """Format a share in few characters: nothing if it would be zero."""
        text = f"{share:.{2 if len(self.confusion_matrix) < 6 else 3}f}"
        return text.removeprefix("0") if float(text) else ""

    def _write_values(self, texts, font):
        """Write texts into the cells, in black or white."""
        written = np.empty_like(texts)
        for (i, j), text in np.ndenumerate(texts):
            colour = text_colour_on(self.im_.to_rgba(self.confusion_matrix[i, j]))
            if text:
                written[i, j] = self.ax_.text(j, i, text, ha="center", va="center", color=colour, fontsize=font)
        return written

    def _name_classes(self, names, cell, rotation):
        """Write class names along both axes; rotate the column names if they would overlap."""
        font = np.clip(0.85 * cell, 4.0, 10.0)
        if rotation is None:
            fits = max(map(len, names)) * CHARACTER_WIDTH * font < cell
            rotation = 0 if fits else 45 if cell > 1.3 * font else 90
        rotated = {"ha": "right", "va": "center" if rotation % 90 == 0 else "top", "rotation_mode": "anchor"}
        style = {"rotation": rotation, **(rotated if rotation % 360 else {})}
        self.ax_.set_xticks(range(len(names)), names, fontsize=font, **style, **PLAIN)
        self.ax_.set_yticks(range(len(names)), names, fontsize=font, **PLAIN)
        self.ax_.set(xlabel="predicted class", ylabel="true class")

    def _draw_marginals(self, length, font):
        """Draw the sums of columns on top and of rows on the right, with a dotted line at equal shares.

        The longest bar is ``length`` points long. Return the height on top and the width on the right, in points.
        """
        height, width = length + 1.5 * (font or 4), length + 3 * (font or 2)
        top = add_beside(self.ax_, "top", GAP, height, sharex=self.ax_)
        right = add_beside(self.ax_, "right", GAP, width, sharey=self.ax_)
        self.axes_ = np.array([self.ax_, top, right], dtype=object)
        positions, style = np.arange(len(self.confusion_matrix)), {"color": COLOURS[0], "zorder": 2}
        largest = max(self.predicted_shares.max(), self.true_shares.max())
        top.set_ylim(0, largest * height / length)
        right.set_xlim(0, largest * width / length)
        for draw_line in (top.axhline, right.axvline):
            draw_line(1 / len(positions), color=GREY, linestyle=":", linewidth=1.2, zorder=1)
        self._label_bars(top.bar(positions, self.predicted_shares, width=0.8, **style), top.yaxis, font)
        self._label_bars(right.barh(positions, self.true_shares, height=0.8, **style), right.xaxis, font)
        top.set_ylabel("predicted", fontsize="small")
        right.set_xlabel("true", fontsize="small")
        right.xaxis.set(label_position="top", ticks_position="top")
        top.tick_params(axis="x", labelbottom=False, bottom=False)
        right.tick_params(axis="y", labelleft=False, left=False)
        top.spines[["top", "right"]].set_visible(False)
        right.spines[["bottom", "right"]].set_visible(False)
        return GAP + height, GAP + width

    def _label_bars(self, bars, axis, font):
        """Write shares at the ends of bars, or draw ticks if the numbers would be too small to read."""
        if font is None:
            longest = max(bars.datavalues)
            axis.set_ticks([0, longest], ["0", f"{longest:.2g}"], fontsize="small")
        else:
            axis.set_ticks([])
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # covers the dotted line
            texts = [self._format(share) for share in bars.datavalues]
            axis.axes.bar_label(bars, texts, padding=2, fontsize=font, bbox=box)
