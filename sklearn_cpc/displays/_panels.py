"""Panels: the axes that a display draws into, in a figure of its own or in axes that it is given."""

import numpy as np


def axes_or_new(ax, figsize, layout="constrained"):
    """Return the axes given, or the only ones of a new figure of this size in inches."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=figsize, layout=layout)[1]


def panels_in(ax, cells, *, figsize, height_ratios=None, **sharing):
    """Make panels in a grid, or take those that are given.

    Parameters
    ----------
    ax : matplotlib Axes, sequence of Axes or None
        Axes whose area is divided (one panel alone is drawn into them), as many as there are panels, or
        None for a new figure.
    cells : list of (int, int)
        Row and column of each panel.
    figsize : tuple of float
        Width and height of a new figure, in inches.
    height_ratios : sequence of float, default=None
        Heights of the rows. None: all the same.
    **sharing
        ``sharex=True``, ``sharey=True``: panels share that axis with the first one.

    Returns
    -------
    ax : matplotlib Axes
        The axes that were given or made; the first panel of a sequence.
    panels : object ndarray of shape (n_panels,)

    Raises
    ------
    ValueError
        If a sequence does not hold as many axes as there are panels.
    """
    if isinstance(ax, (list, tuple, np.ndarray)):
        panels = np.array(ax, dtype=object).ravel()
        if len(panels) != len(cells):
            raise ValueError(
                f"ax holds {len(panels)} axes, but there are {len(cells)} panels; pass as many, or one."
            )
        return panels[0], panels
    ax = axes_or_new(ax, figsize)
    panels = np.array([ax] * len(cells), dtype=object)
    if len(cells) > 1:
        ax.set_axis_off()
        n_rows, n_columns = np.max(cells, axis=0) + 1
        grid = _area_of(ax).subgridspec(n_rows, n_columns, height_ratios=height_ratios)
        for i, cell in enumerate(cells):
            shared = {name: panels[0] for name, wanted in sharing.items() if wanted and i}
            panels[i] = ax.figure.add_subplot(grid[cell], **shared)
    return ax, panels


def _area_of(ax):
    """Area of axes as a SubplotSpec, also of axes that were placed by hand."""
    from matplotlib.gridspec import GridSpec

    if ax.get_subplotspec() is not None:
        return ax.get_subplotspec()
    box = ax.get_position()
    return GridSpec(1, 1, ax.figure, left=box.x0, right=box.x1, bottom=box.y0, top=box.y1)[0]


def size_of(ax):
    """Width and height of axes in points, as they are before anything is drawn."""
    box = ax.get_window_extent()
    return box.width * 72 / ax.figure.dpi, box.height * 72 / ax.figure.dpi


def beside(ax, side, gap, size, **sharing):
    """Add axes above or to the right of others: as long as they are, and of a size in points.

    Parameters
    ----------
    ax : matplotlib Axes
    side : {"top", "right"}
    gap, size : float
        Distance from ``ax``, and height or width, in points.
    **sharing
        ``sharex=ax`` or ``sharey=ax``.

    Returns
    -------
    matplotlib Axes
    """
    axes = ax.inset_axes([0, 0, 1, 1], **sharing)
    axes.set_axes_locator(Beside(ax, side, gap, size))
    return axes


class Beside:
    """Where axes lie beside others, whatever size a layout engine or the aspect leaves to those."""

    def __init__(self, ax, side, gap, size):
        self.ax, self.side, self.gap, self.size = ax, side, gap, size

    def __call__(self, child, renderer):
        """Return the place of the axes in the figure, as matplotlib asks for it."""
        from matplotlib.transforms import Bbox

        box, point = self.ax.bbox, self.ax.figure.dpi / 72
        gap, size = self.gap * point, self.size * point
        bounds = {
            "top": (box.x0, box.y1 + gap, box.width, size),
            "right": (box.x1 + gap, box.y0, size, box.height),
        }
        return Bbox.from_bounds(*bounds[self.side]).transformed(self.ax.figure.transSubfigure.inverted())
