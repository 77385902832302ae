"""LossCurveDisplay: loss and accuracy over the epochs."""

from collections.abc import Mapping
from itertools import cycle

import numpy as np

from .._extras import import_extra
from ..evaluation import record_training
from ._curves import Curve, Level, chance_levels, history_curves, named_models, reference_levels, trained_parts
from ._drawing import COLOURS, GREY, PLAIN, add_legend, make_panels

SPLIT_LINESTYLES = {"train": "--", "valid": "-.", "test": "-"}
SPLIT_COLOURS = {"train": COLOURS[0], "valid": COLOURS[2], "test": COLOURS[1]}
LEVEL_LINESTYLES = (":", (0, (5, 3)), (0, (3, 2, 1, 2)), (0, (8, 2)))
SHARES = ("accuracy", "score")  # quantities whose axis begins at zero
N_COLUMNS = 3
N_INSIDE = 4  # longest legend that fits into a panel, in lines
MARGIN = 0.6  # inches around a legend beside its panel
YLABELS = {
    ("CPC", "loss"): "InfoNCE loss (nats)",
    ("CPC", "accuracy"): "share of true futures ranked first",
    ("CPC", "score"): "contrastive accuracy (score),\n31 negatives",
    ("autoencoder", "loss"): "mean squared error\nof standardised features",
    ("linear probe", "loss"): "cross entropy (nats)",
}


class LossCurveDisplay:
    """Loss, accuracy and whatever else was recorded during training, with a panel for each quantity.

    See the report's figures 4, 5, 14 and 15. Each key ``train_...``, ``valid_...`` or ``test_...`` of a history is
    one curve. Models share panels and differ in colour; accuracies of CPC by future step are drawn for single
    models only. Create a display with :meth:`from_estimator`, :meth:`from_history` or :meth:`from_training`.

    Parameters
    ----------
    curves : list of Curve
        Named tuples ``(model, stage, quantity, split, step, epochs, values)``. ``pandas.DataFrame(curves)``
        turns them into a table.
    levels : list of Level, default=()
        Values to compare the curves with, as named tuples ``(stage, quantity, label, value)``.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Axes that contain all panels and their figure, after plotting.
    axes_ : dict of {(str, str): matplotlib Axes}
        The panels by stage and quantity.

    See Also
    --------
    sklearn_cpc.evaluation.record_training : The history of a training with test data.
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

    def plot(self, *, ax=None, quantities=None, splits=None, line_kw=None):
        """Draw the curves, with a row of panels for each stage, or several rows of three panels.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of Axes, default=None
            One Axes into which all panels are laid out, or one Axes per panel. None: a new figure.
        quantities : sequence of str, default=None
            Quantities to draw, for example ``["loss"]``. None: all that were recorded.
        splits : sequence of {"train", "valid", "test"}, default=None
            Splits to draw. None: all.
        line_kw : dict, default=None
            Keyword arguments of matplotlib's ``plot`` for every curve.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        ValueError
            If there is nothing to draw, or ``ax`` does not hold one Axes per panel.
        """
        normalize_kwargs = import_extra("matplotlib.cbook", "plot").normalize_kwargs
        from matplotlib.lines import Line2D

        line_kw = normalize_kwargs(line_kw or {}, Line2D)  # "lw" is "linewidth"
        shown = self._select_curves(quantities, splits)
        models = dict.fromkeys(curve.model for curve in shown)
        colours = dict(zip(models, cycle(COLOURS), strict=False)) if len(models) > 1 else {}
        stages = list(dict.fromkeys(curve.stage for curve in shown))
        keys = sorted(dict.fromkeys(curve[1:3] for curve in shown), key=lambda key: stages.index(key[0]))
        cells: list[tuple[int, int]] = []  # new rows for each stage
        for stage in stages:
            n_panels, first_row = sum(key[0] == stage for key in keys), cells[-1][0] + 1 if cells else 0
            cells += [(first_row + i // N_COLUMNS, i % N_COLUMNS) for i in range(n_panels)]
        n_rows, n_columns = np.max(cells, axis=0) + 1
        self.ax_, panels = make_panels(ax, cells, figsize=(4.8 * n_columns, 3.5 * n_rows))
        self.figure_ = self.ax_.figure
        self.axes_ = dict(zip(keys, panels, strict=True))
        for key, panel in self.axes_.items():
            curves = [curve for curve in shown if curve[1:3] == key]
            _draw_curves(curves, panel, colours, line_kw)
            levels = [level for level in self.levels if level[:2] == key]
            for level, linestyle in zip(levels, cycle(LEVEL_LINESTYLES), strict=False):
                panel.axhline(level.value, label=level.label, zorder=1, color=GREY, linestyle=linestyle)
            _label_panel(panel, key, {curve.split for curve in curves})
        legends = [panel.get_legend() for panel in panels if len(panel.get_legend().get_texts()) > N_INSIDE]
        if ax is None and legends:  # they are beside their panels and would make these narrower
            widest = max(legend.get_window_extent().width for legend in legends) / self.figure_.dpi
            self.figure_.set_figwidth(self.figure_.get_figwidth() + n_columns * (widest + MARGIN))
        return self

    @classmethod
    def from_estimator(cls, estimator, *, name=None, chance=True, reference_lines=None, **plot_kw):
        """Draw what fitted estimators recorded during their training; see :meth:`from_training` for test data.

        Parameters
        ----------
        estimator : estimator, or dict or list of them
            CPCTransformer, AutoencoderReducer or LinearProbe, or a Pipeline, where each of these gets a row of
            panels. The estimators of a dict {name: estimator} or of a list share panels.
        name : str, default=None
            Name of a single estimator in the legend.
        chance : bool, default=True
            Whether to draw the level of chance where it is known: for LinearProbe with equally frequent classes,
            as in the report; for CPC when guessing among the N windows of full clips and batches (loss ln N).
        reference_lines : dict, default=None
            Further levels, as in :meth:`from_history`, drawn for the last step that recorded the quantity.
        **plot_kw : parameters of :meth:`plot`

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        NotFittedError, TypeError, ValueError
            If an estimator is not fitted, has no ``history_``, or was trained for no epoch.
        """
        curves: list[Curve] = []
        levels: list[Level] = []
        for model, named in named_models(estimator, name).items():
            for trained in trained_parts(named, model):
                recorded = history_curves(trained.history_, model, _title(trained))
                curves += recorded
                levels += chance_levels(recorded, getattr(trained, "_n_candidates", None)) if chance else []
        levels = [*dict.fromkeys(levels), *reference_levels(reference_lines, curves)]
        return cls(curves, levels=levels).plot(**plot_kw)

    @classmethod
    def from_history(cls, history, *, name=None, stage="", n_classes=None, reference_lines=None, **plot_kw):
        """Draw records of training.

        Parameters
        ----------
        history : list of dict, or dict of them by name
            One dict per epoch, as in ``history_``, from :func:`~sklearn_cpc.evaluation.record_training` or from
            skorch. Numbers are drawn if their key begins with ``train_``, ``valid_`` or ``test_``. The
            histories of a dict {name: history} share panels.
        name : str, default=None
            Name of a single history in the legend.
        stage : str, default=""
            Title of the panels. "CPC", "autoencoder" and "linear probe" also label the quantities.
        n_classes : int, default=None
            Number of classes, to draw the level of chance if all are equally frequent. None: no such level.
        reference_lines : dict, default=None
            Levels to compare with: ``{"chance": 0.1, "untrained": 0.22}`` for the accuracy (the report's
            figure 5), or by quantity, ``{"loss": {"chance": 2.3}, "accuracy": {"chance": 0.1}}``.
        **plot_kw : parameters of :meth:`plot`

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        TypeError, ValueError
            If a history is not a list of dicts, is empty, or holds nothing that can be drawn.
        """
        named = history if isinstance(history, Mapping) else {name or "": history}
        curves = [curve for model, rows in named.items() for curve in history_curves(rows, str(model), stage)]
        levels = chance_levels(curves, n_classes) + reference_levels(reference_lines, curves)
        return cls(curves, levels=levels).plot(**plot_kw)

    @classmethod
    def from_training(cls, estimator, X, y, X_test, y_test, *, max_epochs=None, chance=True, **kwargs):
        """Train a clone of a classifier, test it after every epoch, and draw both (the report's figure 14).

        To compare models as in the report's figure 5, pass a dict of histories from
        :func:`~sklearn_cpc.evaluation.record_training` to :meth:`from_history`.

        Parameters
        ----------
        estimator, X, y, X_test, y_test, max_epochs
            See :func:`~sklearn_cpc.evaluation.record_training`.
        chance : bool, default=True
            Whether to draw the level of chance for equally frequent classes.
        **kwargs : ``name`` and ``reference_lines`` of :meth:`from_history`, and parameters of :meth:`plot`

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        TypeError, ValueError
            As in :func:`~sklearn_cpc.evaluation.record_training`.
        """
        import_extra("matplotlib", "plot")  # raises before long computations
        history = record_training(estimator, X, y, X_test, y_test, max_epochs=max_epochs)
        n_classes = len(np.unique(y)) if chance else None
        return cls.from_history(history, stage=_title(estimator), n_classes=n_classes, **kwargs)

    def _select_curves(self, quantities, splits):
        """Return the curves to draw; those of single future steps only if there is one model."""
        several_models = len({curve.model for curve in self.curves}) > 1
        shown = [curve for curve in self.curves if not (several_models and curve.step)]
        for name, field, wanted in (("quantities", "quantity", quantities), ("splits", "split", splits)):
            recorded = sorted({getattr(curve, field) for curve in self.curves})
            if isinstance(wanted, str) or set(wanted or ()) - set(recorded):
                raise ValueError(f"{name}={wanted!r} must be a list of what was recorded: {recorded}.")
            shown = [curve for curve in shown if wanted is None or getattr(curve, field) in wanted]
        if not shown:
            raise ValueError(f"no curve is left to draw with quantities={quantities!r} and splits={splits!r}.")
        return shown


def _title(estimator):
    return getattr(estimator, "_title", type(estimator).__name__)


def _draw_curves(curves, panel, colours, line_kw):
    """Draw the curves of one panel. Colours tell models apart, or else future steps, or else splits."""
    import matplotlib

    steps_ahead = matplotlib.colormaps["viridis"]  # dark for the near future, light for the far
    n_splits, n_steps = len({curve.split for curve in curves}), max(curve.step or 0 for curve in curves)
    for curve in curves:
        colour, step_name = SPLIT_COLOURS[curve.split], ""
        if n_steps:
            colour = steps_ahead(0.1 + 0.8 * (curve.step - 1) / n_steps) if curve.step else "black"
            step_name = f"{curve.step} ahead" if curve.step else "all steps"
        style = {
            "color": colours.get(curve.model, colour),
            "linestyle": SPLIT_LINESTYLES[curve.split] if n_splits > 1 else "-",
            "linewidth": 1.2 if curve.step else 1.8,
            "marker": "o" if len(curve.epochs) <= 20 else None,
            "markersize": 3.5,
        }
        names = [curve.model, curve.split if n_splits > 1 else "", step_name]
        label = ", ".join(filter(None, names)) or curve.split
        panel.plot(curve.epochs, curve.values, label=label, **{**style, **line_kw})


def _label_panel(panel, key, splits):
    """Add titles, limits and a legend, which moves out of the panel if it is long."""
    from matplotlib.ticker import MaxNLocator

    stage, quantity = key
    panel.set_xlabel("epoch")
    panel.set_title(stage, **PLAIN)
    panel.set_ylabel(YLABELS.get(key, quantity.replace("_", " ")), **PLAIN)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if quantity.endswith(SHARES) and panel.dataLim.y0 >= 0:
        highest = panel.dataLim.y1
        panel.set_ylim(0, 1.05 * highest if highest > 0 else None)
    lines = [line for line in panel.get_lines() if not line.get_label().startswith("_child")]  # without a label
    labels = {line.get_label() for line in lines}
    title = " ".join(splits - labels) if len(splits) == 1 else None  # the only split, unless a label names it
    outside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "borderaxespad": 0}
    add_legend(panel, lines, title=title, **(outside if len(lines) > N_INSIDE else {}))
