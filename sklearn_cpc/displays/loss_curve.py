"""LossCurveDisplay: how loss and accuracy went, epoch after epoch."""

from collections.abc import Mapping

import numpy as np

from ._curves import (
    Curve,
    Level,
    by_name,
    chance_among,
    chance_of,
    curves_of,
    reference_levels,
    stage_of,
    with_history,
)
from ._panels import panels_in
from ._style import COLOURS, QUIET, colour_of
from .training import record_training

SPLITS = {"train": "--", "valid": "-.", "test": "-"}
SPLIT_COLOURS = {"train": COLOURS[0], "valid": COLOURS[2], "test": COLOURS[1]}
SHARES = ("accuracy", "score")  # whose axis begins at zero
N_COLUMNS = 3
N_INSIDE = 4  # lines of a legend that find room in a panel
MARGIN = 0.6  # inches around a legend that does not
QUANTITIES = {
    ("CPC", "loss"): "InfoNCE loss (nats)",
    ("CPC", "accuracy"): "share of true futures ranked first",
    ("CPC", "score"): "contrastive accuracy (score),\n31 negatives",
    ("autoencoder", "loss"): "mean squared error\nof standardised features",
    ("linear probe", "loss"): "cross entropy (nats)",
}


class LossCurveDisplay:
    """Loss, accuracy and whatever else was recorded during training, a panel for each quantity.

    The report's figures 4, 5, 14 and 15. Every key ``train_...``, ``valid_...`` and ``test_...`` of a history
    is a curve of what follows; those of one quantity share a panel. Several models share panels too, told
    apart by colour. Accuracies of CPC by future step are drawn if there is one model.

    It is recommended to use :meth:`from_estimator`, :meth:`from_history` or :meth:`from_training`.

    Parameters
    ----------
    curves : list of Curve
        Named tuples ``(model, stage, quantity, split, step, epochs, values)``;
        ``pandas.DataFrame(curves)`` makes a table.
    levels : list of Level, default=()
        Named tuples ``(stage, quantity, label, value)``: what to compare the curves with.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        What was drawn into, after plotting. If there are several panels, they lie within ``ax_``.
    axes_ : dict of {(str, str): matplotlib Axes}
        The panels by stage and quantity.

    See Also
    --------
    record_training : The history of a training with test data.
    sklearn.model_selection.LearningCurveDisplay : Scores by the size of the training set.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_cpc import LinearProbe
    >>> from sklearn_cpc.displays import LossCurveDisplay
    >>> probe = LinearProbe(lr=0.01, random_state=0).fit(*load_iris(return_X_y=True))
    >>> display = LossCurveDisplay.from_estimator(probe)
    >>> [(curve.split, curve.quantity, len(curve.values)) for curve in display.curves]
    [('train', 'loss', 10), ('train', 'accuracy', 10)]
    """

    def __init__(self, curves, *, levels=()):
        self.curves = curves
        self.levels = levels

    def plot(self, ax=None, *, quantities=None, splits=None, line_kw=None):
        """Draw the curves: a row of panels for each stage, or more if it has more than three quantities.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of them, default=None
            Axes into which all panels are laid, or as many as there are panels. None: a new figure.
        quantities : sequence of str, default=None
            What to draw, ``["loss"]`` for example. None: all that was recorded.
        splits : sequence of {"train", "valid", "test"}, default=None
            On what data. None: all.
        line_kw : dict, default=None
            Keyword arguments of matplotlib's ``plot`` for every curve.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        ValueError
            If nothing is left to draw, or ``ax`` holds another number of axes than there are panels.
        """
        shown = self._shown(quantities, splits)
        stages = list(dict.fromkeys(curve.stage for curve in shown))
        keys = sorted(dict.fromkeys(curve[1:3] for curve in shown), key=lambda key: stages.index(key[0]))
        cells = _cells(keys)
        n_rows, n_columns = np.max(cells, axis=0) + 1
        self.ax_, panels = panels_in(ax, cells, figsize=(4.8 * n_columns, 3.5 * n_rows))
        self.figure_ = self.ax_.figure
        self.axes_ = dict(zip(keys, panels, strict=True))
        models = list(dict.fromkeys(curve.model for curve in shown))
        for key, panel in self.axes_.items():
            _draw([curve for curve in shown if curve[1:3] == key], panel, models, line_kw or {})
            _draw_levels([level for level in self.levels if level[:2] == key], panel)
            _finish(panel, key, {curve.split for curve in shown if curve[1:3] == key})
        if ax is None:
            _make_room(self.figure_, panels, n_columns)
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator,
        *,
        name=None,
        chance=True,
        reference_lines=None,
        ax=None,
        quantities=None,
        splits=None,
        line_kw=None,
    ):
        """Draw what fitted estimators recorded while they were trained.

        There is nothing to pass but the estimators: what they would have said of other data in earlier
        epochs is not known any more. :meth:`from_training` records it.

        Parameters
        ----------
        estimator : estimator, or dict or list of them
            CPCTransformer, AutoencoderReducer or LinearProbe, or a Pipeline with some of them, each of which
            gets a row of panels. Of a dict {name: estimator} or a list, all are drawn into the same panels.
        name : str, default=None
            Name of a single estimator in the legend.
        chance : bool, default=True
            Whether to draw the level of chance where it is known. For LinearProbe it is that of classes
            that occur equally often, as in the report; for CPC that of guessing among N windows, ln N, where
            N holds for whole clips and full batches, and is less for shorter ones.
        reference_lines : dict, default=None
            Further levels: ``{"untrained": 0.22}`` for the accuracy, or by quantity,
            ``{"loss": {"untrained": 2.1}, "accuracy": {"untrained": 0.22}}``. In a Pipeline they belong to
            the last step that has the quantity.
        ax, quantities, splits, line_kw
            See :meth:`plot`.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        NotFittedError
            If an estimator has not been fitted.
        TypeError
            If one has no ``history_``.
        ValueError
            If one was trained for no epoch at all, as with ``max_epochs=0``.
        """
        curves: list[Curve] = []
        levels: list[Level] = []
        for model, named in by_name(estimator, name).items():
            for trained in with_history(named, model):
                stage = stage_of(trained)
                curves += curves_of(trained.history_, model, stage)
                levels += chance_of(trained, stage) if chance else []
        levels = [*dict.fromkeys(levels), *reference_levels(reference_lines, curves)]
        return cls(curves, levels=levels).plot(ax, quantities=quantities, splits=splits, line_kw=line_kw)

    @classmethod
    def from_history(
        cls,
        history,
        *,
        name=None,
        stage="",
        reference_lines=None,
        ax=None,
        quantities=None,
        splits=None,
        line_kw=None,
    ):
        """Draw records of training.

        Parameters
        ----------
        history : list of dict, or dict of them by name
            A row per epoch, as in ``history_`` or from :func:`record_training`; skorch's histories will do.
            Numbers whose key begins with ``train_``, ``valid_`` or ``test_`` are drawn. Of a dict
            {name: history}, all are drawn into the same panels.
        name : str, default=None
            Name of a single history in the legend.
        stage : str, default=""
            Title of the panels. "CPC", "autoencoder" and "linear probe" also name the quantities.
        reference_lines : dict, default=None
            Levels to compare with: ``{"chance": 0.1, "untrained": 0.22}`` for the accuracy (the report's
            figure 5), or by quantity, ``{"loss": {"chance": 2.3}, "accuracy": {"chance": 0.1}}``.
        ax, quantities, splits, line_kw
            See :meth:`plot`.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        TypeError
            If a history is no list of dicts.
        ValueError
            If one is empty, or holds nothing that can be drawn.
        """
        named = history if isinstance(history, Mapping) else {name or "": history}
        curves = [curve for model, rows in named.items() for curve in curves_of(rows, str(model), stage)]
        levels = reference_levels(reference_lines, curves)
        return cls(curves, levels=levels).plot(ax, quantities=quantities, splits=splits, line_kw=line_kw)

    @classmethod
    def from_training(
        cls,
        estimator,
        X,
        y,
        X_test,
        y_test,
        *,
        max_epochs=None,
        name=None,
        chance=True,
        reference_lines=None,
        ax=None,
        quantities=None,
        splits=None,
        line_kw=None,
    ):
        """Train a clone of a classifier, test it after every epoch, and draw both (the report's figure 14).

        For several models in one figure, as in the report's figure 5, collect their histories with
        :func:`record_training` and pass the dict of them to :meth:`from_history`.

        Parameters
        ----------
        estimator, X, y, X_test, y_test, max_epochs
            See :func:`record_training`.
        name : str, default=None
            Name of the model in the legend.
        chance : bool, default=True
            Whether to draw the level of chance for classes that occur equally often.
        reference_lines : dict, default=None
            Further levels; see :meth:`from_history`.
        ax, quantities, splits, line_kw
            See :meth:`plot`.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        TypeError, ValueError
            For the reasons of :func:`record_training`.
        """
        history = record_training(estimator, X, y, X_test, y_test, max_epochs=max_epochs)
        stage = stage_of(estimator)
        curves = curves_of(history, name or "", stage)
        levels = chance_among(len(np.unique(y)), stage) if chance else []
        levels += reference_levels(reference_lines, curves)
        return cls(curves, levels=levels).plot(ax, quantities=quantities, splits=splits, line_kw=line_kw)

    def _shown(self, quantities, splits):
        """Return the curves to draw; those of single future steps only if there is one model."""
        several = len({curve.model for curve in self.curves}) > 1
        for name, wanted, there in (
            ("quantities", quantities, {curve.quantity for curve in self.curves}),
            ("splits", splits, {curve.split for curve in self.curves}),
        ):
            unknown = sorted(set(wanted or ()) - there)
            if unknown or isinstance(wanted, str):
                raise ValueError(f"{name}={wanted!r} must be a list of what was recorded: {sorted(there)}.")
        shown = [
            curve
            for curve in self.curves
            if (quantities is None or curve.quantity in quantities)
            and (splits is None or curve.split in splits)
            and not (several and curve.step)
        ]
        if not shown:
            raise ValueError(f"no curve is left to draw with quantities={quantities!r} and splits={splits!r}.")
        return shown


# Drawing


def _cells(keys):
    """Row and column of every panel: new rows for each stage."""
    cells, n_rows = [], 0
    for stage in dict.fromkeys(stage for stage, _ in keys):
        n_panels = sum(other == stage for other, _ in keys)
        cells += [(n_rows + i // N_COLUMNS, i % N_COLUMNS) for i in range(n_panels)]
        n_rows = cells[-1][0] + 1
    return cells


def _draw(curves, panel, models, line_kw):
    """Draw the curves of one panel: colours tell models apart, or else splits or future steps."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    line_kw = normalize_kwargs(line_kw, Line2D)  # "lw" is "linewidth"
    n_splits, n_steps = len({curve.split for curve in curves}), max(curve.step or 0 for curve in curves)
    for curve in curves:
        if len(models) > 1:
            colour = colour_of(models.index(curve.model))
        else:
            colour = _colour_of_step(curve.step, n_steps) if n_steps else SPLIT_COLOURS[curve.split]
        style = {
            "color": colour,
            "linestyle": SPLITS[curve.split] if n_splits > 1 else "-",
            "linewidth": 1.2 if curve.step else 1.8,
            "marker": "o" if len(curve.epochs) <= 20 else None,
            "markersize": 3.5,
        }
        parts = [curve.model, curve.split if n_splits > 1 else "", _say_step(curve.step, n_steps)]
        label = ", ".join(filter(None, parts)) or curve.split
        panel.plot(curve.epochs, curve.values, label=label, **{**style, **line_kw})


def _colour_of_step(step, n_steps):
    """Black for all steps together; the near future dark, the far future light."""
    import matplotlib

    return "black" if step is None else matplotlib.colormaps["viridis"](0.1 + 0.8 * (step - 1) / n_steps)


def _say_step(step, n_steps):
    if not n_steps:
        return ""
    return "all steps" if step is None else f"{step} ahead"


def _draw_levels(levels, panel):
    dashes = (":", (0, (5, 3)), (0, (3, 2, 1, 2)), (0, (8, 2)))
    for i, level in enumerate(levels):
        panel.axhline(level.value, color=QUIET, linestyle=dashes[i % len(dashes)], label=level.label, zorder=1)


def _finish(panel, key, splits):
    """Put titles, limits and a legend, which moves out of the panel if it is long."""
    from matplotlib.ticker import MaxNLocator

    stage, quantity = key
    panel.set(title=stage, xlabel="epoch", ylabel=QUANTITIES.get(key, quantity.replace("_", " ")))
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if quantity.endswith(SHARES) and panel.dataLim.y0 >= 0:
        panel.set_ylim(bottom=0)
    labels = panel.get_legend_handles_labels()[1]
    title = " ".join(splits - set(labels)) if len(splits) == 1 else None  # unless a label says it
    outside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "borderaxespad": 0}
    panel.legend(title=title, fontsize="small", **(outside if len(labels) > N_INSIDE else {}))


def _make_room(figure, panels, n_columns):
    """Widen a new figure by the legends beside its panels, which would be so much narrower."""
    legends = [panel.get_legend() for panel in panels if len(panel.get_legend().get_texts()) > N_INSIDE]
    if legends:
        widest = max(legend.get_window_extent().width for legend in legends) / figure.dpi
        figure.set_figwidth(figure.get_figwidth() + n_columns * (widest + MARGIN))
