"""LossCurveDisplay: how loss and accuracy went, epoch after epoch."""

import math
import re
from collections.abc import Mapping
from numbers import Real
from typing import NamedTuple

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ._panels import panels_in
from ._style import COLOURS, QUIET, colour_of
from .training import record_training

RECORD = re.compile(r"(train|valid|test)_(?!batch_count)(.+?)(?<!_best)")  # what a key of a history records
STAGES = {"CPCTransformer": "CPC", "AutoencoderReducer": "autoencoder", "LinearProbe": "linear probe"}
SPLITS = {"train": "--", "valid": "-.", "test": "-"}
SPLIT_COLOURS = {"train": COLOURS[0], "valid": COLOURS[2], "test": COLOURS[1]}
SHARES = ("accuracy", "score")  # whose axis begins at zero
N_COLUMNS = 3
QUANTITIES = {
    ("CPC", "loss"): "InfoNCE loss (nats)",
    ("CPC", "accuracy"): "share of true futures ranked first",
    ("CPC", "score"): "contrastive accuracy (score),\n31 negatives",
    ("autoencoder", "loss"): "mean squared error\nof standardised features",
    ("linear probe", "loss"): "cross entropy (nats)",
}


class Curve(NamedTuple):
    """One quantity of one model over the epochs.

    Attributes
    ----------
    model : str
        Name of the model.
    stage : str
        What was trained: "CPC", "autoencoder", "linear probe", or the name of another class.
    quantity : str
        "loss", "accuracy", or what else was recorded.
    split : {"train", "valid", "test"}
        On what data.
    step : int or None
        Future step that an accuracy of CPC is of; None: all.
    epochs : int ndarray of shape (n_epochs,)
        Numbered from 1.
    values : float ndarray of shape (n_epochs,)
        The quantity; NaN where it was not recorded.
    """

    model: str
    stage: str
    quantity: str
    split: str
    step: int | None
    epochs: np.ndarray
    values: np.ndarray


class Level(NamedTuple):
    """A value to compare curves with, drawn as a horizontal line.

    Attributes
    ----------
    stage : str
        Of the panel.
    quantity : str
        Of the panel.
    label : str
        For the legend.
    value : float
        Where to draw it.
    """

    stage: str
    quantity: str
    label: str
    value: float


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
        for model, named in _by_name(estimator, name).items():
            for trained in _with_history(named, model):
                stage = _stage_of(trained)
                curves += _curves(trained.history_, model, stage)
                levels += _chance_of(trained, stage) if chance else []
        levels = [*dict.fromkeys(levels), *_reference_levels(reference_lines, curves)]
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
        curves = [curve for model, rows in named.items() for curve in _curves(rows, str(model), stage)]
        levels = _reference_levels(reference_lines, curves)
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
        stage = _stage_of(estimator)
        curves = _curves(history, name or "", stage)
        levels = _chance_among(len(np.unique(y)), stage) if chance else []
        levels += _reference_levels(reference_lines, curves)
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
    panel.legend(title=title, fontsize="small", **(outside if len(labels) > 4 else {}))


# Curves


def _curves(history, model, stage):
    """Curves of a history, those of the loss and the accuracy first."""
    if not isinstance(history, (list, tuple)) or not all(isinstance(row, Mapping) for row in history):
        raise TypeError(
            f"the history of {model or 'the model'} is a {type(history).__name__}; it must be a list with a dict "
            "for every epoch, like history_."
        )
    if not history:
        raise ValueError(
            f"the history of {model or 'the model'} is empty: it was trained for no epoch, so there is no curve."
        )
    keys = dict.fromkeys(key for row in history for key, value in row.items() if _is_number(value))
    epochs = np.array([row.get("epoch", number) for number, row in enumerate(history, 1)])
    curves = []
    for key in keys:
        recorded = RECORD.fullmatch(key)
        if recorded is None:
            continue
        split, quantity = recorded.groups()
        whole, _, step = quantity.rpartition("_")
        of_step = step.isdecimal() and f"{split}_{whole}" in keys  # train_accuracy_1, beside train_accuracy
        values = np.array([row.get(key, math.nan) for row in history], dtype=float)
        name, number = (whole, int(step)) if of_step else (quantity, None)
        curves.append(Curve(model, stage, name, split, number, epochs, values))
    if not curves:
        raise ValueError(
            f"the history of {model or 'the model'} holds no number under train_..., valid_... or test_..., only "
            f"{sorted({key for row in history for key in row})}."
        )
    first = ["loss", "accuracy"]
    return sorted(curves, key=lambda curve: first.index(curve.quantity) if curve.quantity in first else len(first))


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool)


def _by_name(estimator, name):
    """Return {name: estimator}; of a list by class, numbered if one comes twice."""
    if isinstance(estimator, Mapping):
        return {str(model): named for model, named in estimator.items()}
    if not isinstance(estimator, (list, tuple)):
        return {name or "": estimator}
    names = [type(one).__name__ for one in estimator]
    return {
        model if names.count(model) == 1 else f"{model} {i}": one
        for i, (model, one) in enumerate(zip(names, estimator, strict=True), 1)
    }


def _with_history(estimator, model):
    """Return the estimator, or the steps of a Pipeline, that recorded some epochs."""
    check_is_fitted(estimator)
    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    recording = [step for step in steps if hasattr(step, "history_")]
    if not recording:
        raise TypeError(
            f"{model or type(estimator).__name__} has no history_; pass a CPCTransformer, AutoencoderReducer or "
            "LinearProbe, a Pipeline with one of them, or the record of a training to from_history."
        )
    trained = [step for step in recording if step.history_]
    if not trained:
        raise ValueError(
            f"{model or type(estimator).__name__} was trained for no epoch, so there is no curve; fit with "
            "max_epochs=1 or more."
        )
    return trained


def _stage_of(estimator):
    """Say what was trained."""
    names = [kind.__name__ for kind in type(estimator).__mro__]
    return next((STAGES[name] for name in names if name in STAGES), names[0])


# Levels


def _chance_of(estimator, stage):
    """Levels of chance, as far as they are known."""
    return CHANCE[stage](estimator) if stage in CHANCE else []


def _chance_of_cpc(cpc):
    """Guessing among the true window and the negatives of whole clips in full batches."""
    across = cpc.batch_size - 1 if cpc.n_across is None else cpc.n_across * (1 - 1 / cpc.batch_size)
    within = cpc.n_context + cpc.n_future - 1
    n_windows = 1 + {"across": across, "within": within, "mixed": across + within}[cpc.negatives]
    return [*_chance_among(round(n_windows), "CPC"), Level("CPC", "score", "chance, 1/32", 1 / 32)]


def _chance_of_probe(probe):
    return _chance_among(len(probe.classes_), "linear probe")


def _chance_among(n, stage):
    """Guessing among n that are equally likely."""
    return [
        Level(stage, "loss", f"chance, ln {n}", math.log(n)),
        Level(stage, "accuracy", f"chance, 1/{n}", 1 / n),
    ]


CHANCE = {"CPC": _chance_of_cpc, "linear probe": _chance_of_probe}


def _reference_levels(reference_lines, curves):
    """Levels that were asked for, in the last stage that has their quantity."""
    by_quantity: dict[str, dict] = {}
    for key, value in (reference_lines or {}).items():
        by_quantity.setdefault(key if isinstance(value, Mapping) else "accuracy", {}).update(
            value if isinstance(value, Mapping) else {key: value}
        )
    stages = {curve.quantity: curve.stage for curve in curves}
    unknown = sorted(set(by_quantity) - set(stages))
    if unknown:
        raise ValueError(
            f"reference_lines={reference_lines!r} is of {unknown}, but what was recorded is {sorted(stages)}."
        )
    return [
        Level(stages[quantity], quantity, str(label), float(value))
        for quantity, lines in by_quantity.items()
        for label, value in lines.items()
    ]
