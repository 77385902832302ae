"""LabelEfficiencyDisplay: scores against the number of labels per class."""

from .._extras import import_extra
from ..evaluation import label_efficiency
from ..evaluation.representations import UNTRAINED
from ._drawing import COLOURS, GREY, MARKERS, add_legend, make_panels


class LabelEfficiencyDisplay:
    """How good features are with few labels: scores against the labels per class that were used.

    Untrained networks are dashed lines in the colours of the trained ones. Create a display with
    :meth:`from_estimator` or :meth:`from_table`.

    Parameters
    ----------
    table : DataFrame
        From :func:`~sklearn_cpc.evaluation.label_efficiency`.

    Attributes
    ----------
    ax_, axes_, figure_ : matplotlib Axes, array of these Axes, and Figure, after plotting

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sklearn_cpc.displays import LabelEfficiencyDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> display = LabelEfficiencyDisplay.from_estimator(PCA(1), X, y, n_labels=(1, 5, None), n_draws=2, cv=3)
    >>> display.ax_.get_lines()[1].get_xdata().round().tolist()
    [1.0, 5.0, 33.0]
    """

    def __init__(self, table):
        self.table = table

    def plot(self, *, ax=None):
        """Draw mean scores, with bands of one standard deviation over folds and seeds.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of Axes, default=None
            One Axes, alone or in a sequence. None: a new figure.

        Returns
        -------
        display : LabelEfficiencyDisplay
        """
        self.ax_, self.axes_ = make_panels(ax, [(0, 0)], figsize=(6.4, 4.4))
        self.figure_, lines = self.ax_.figure, []
        names = list(dict.fromkeys(self.table.index.get_level_values("representation")))
        trained = {name: name for name in names} | {UNTRAINED.format(name): name for name in names}
        styles = {"chance": (GREY, "")}
        for name in names:
            rows = self.table.xs(name, level="representation").sort_values("n_used", kind="stable")
            x, mean, std = (rows[column].to_numpy(float) for column in ("n_used", "mean", "std"))
            next_style = COLOURS[len(styles) % len(COLOURS) - 1], MARKERS[len(styles) % len(MARKERS) - 1]
            colour, marker = styles.setdefault(trained[name], next_style)
            style = ":" if name == "chance" else "-" if trained[name] == name else "--"
            how = {"color": colour, "linestyle": style, "marker": marker, "markersize": 4.5}
            lines += self.ax_.plot(x, mean, label=str(name), **how)
            if style == "-":
                self.ax_.fill_between(x, mean - std, mean + std, color=colour, alpha=0.13, linewidth=0)
        sizes = zip(self.table["n_used"], self.table.index.get_level_values("n_labels"), strict=True)
        ticks = {used: "\nall" if size == "all" else f"{used:.3g}" for used, size in sizes}  # two lines: for space
        self.ax_.set(xscale="log", xlabel="labels per class", ylabel=self.table["scoring"].iloc[0])
        self.ax_.set_xticks([], minor=True)
        self.ax_.set_xticks(list(ticks), list(ticks.values()))
        add_legend(self.ax_, lines)
        return self

    @classmethod
    def from_estimator(cls, estimator, X, y, *, ax=None, **kwargs):
        """Compute scores with few labels, and draw them.

        Parameters
        ----------
        estimator, X, y : estimator or dict of them by name, rows and their classes
        **kwargs : further parameters of :func:`~sklearn_cpc.evaluation.label_efficiency`
        ax : matplotlib Axes or sequence of Axes, default=None
            See :meth:`plot`.

        Returns
        -------
        display : LabelEfficiencyDisplay
        """
        import_extra("matplotlib", "plot")  # raises before long computations
        return cls(label_efficiency(estimator, X, y, **kwargs)).plot(ax=ax)

    @classmethod
    def from_table(cls, table, **plot_kw):
        """Draw a table of :func:`~sklearn_cpc.evaluation.label_efficiency`, or some of its rows.

        Parameters
        ----------
        table : DataFrame
        **plot_kw : parameters of :meth:`plot`

        Returns
        -------
        display : LabelEfficiencyDisplay

        Raises
        ------
        ValueError
            If the table is another one, or has no rows.
        """
        if table.index.names != ["representation", "n_labels"] or "n_used" not in table or table.empty:
            raise ValueError("the table must be one of label_efficiency, with at least one of its rows.")
        return cls(table).plot(**plot_kw)
