"""What the displays share: colours that every reader can tell apart, markers, and panels."""

import numpy as np

from .._extras import import_extra

# Okabe and Ito's palette without its yellow, which is too pale for lines and dots on white. Then indigo, wine and
# olive from Paul Tol's palettes, dark enough to differ from the first colours for colour-blind readers too.
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"),
    *("#332288", "#882255", "#999933"),
)
# All can be drawn filled or hollow. Their number and that of the colours have no common factor: 70 classes differ.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "0.45"  # for what is not data: levels of chance, lines at equal shares
CHARACTER_WIDTH = 0.6  # of a letter or digit, in font sizes
PLAIN = {"parse_math": False}  # names that hold $ are no formulas


def text_colour_on(rgba):
    """Return black or white, whichever has more contrast (as the W3C defines it) with a colour in RGB, 0 to 1."""
    rgb = np.asarray(rgba[:3])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    return "black" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "white"


def make_panels(ax, cells, *, figsize, height_ratios=None, layout="constrained", **sharing):
    """Make panels in a grid, or use the Axes of the user; return the Axes that contain all panels, and the panels.

    ``ax`` is one Axes into which all panels are laid out, a sequence with one Axes per panel, or None for a new
    figure of ``figsize`` inches. ``cells`` holds the row and column of each panel. With ``sharex=True`` or
    ``sharey=True``, new panels share that axis with the first one.
    """
    plt = import_extra("matplotlib.pyplot", "plot")
    from matplotlib.gridspec import GridSpec

    if isinstance(ax, (list, tuple, np.ndarray)):
        panels = np.array(ax, dtype=object).ravel()
        if len(panels) != len(cells):
            raise ValueError(f"ax holds {len(panels)} axes, but there are {len(cells)} panels; pass one or all.")
        return panels[0], panels
    if ax is None:
        ax = plt.subplots(figsize=figsize, layout=layout)[1]
    panels = np.array([ax] * len(cells), dtype=object)
    if len(cells) > 1:
        ax.set_axis_off()
        area, box = ax.get_subplotspec(), ax.get_position()
        if area is None:  # axes that were placed by hand
            area = GridSpec(1, 1, ax.figure, left=box.x0, right=box.x1, bottom=box.y0, top=box.y1)[0]
        grid = area.subgridspec(*np.max(cells, axis=0) + 1, height_ratios=height_ratios)
        for i, cell in enumerate(cells):
            shared = {name: panels[0] for name, wanted in sharing.items() if wanted and i}
            panels[i] = ax.figure.add_subplot(grid[cell], **shared)
    return ax, panels


def add_legend(panel, handles, **options):
    """Add a legend of lines to a panel, with their labels as they are: matplotlib leaves out those with a "_"."""
    legend = panel.legend(handles=handles, labels=["label"] * len(handles), fontsize="small", **options)
    for text, handle in zip(legend.get_texts(), handles, strict=True):
        text.set(text=handle.get_label(), **PLAIN)
    legend.get_title().set(**PLAIN)


def size_in_points(ax):
    """Return the width and height of Axes in points, before any layout engine has run."""
    box = ax.get_window_extent()
    return box.width * 72 / ax.figure.dpi, box.height * 72 / ax.figure.dpi


def add_beside(ax, side, gap, size, **sharing):
    """Add Axes along the "top" or the "right" side of others, with a gap and a size (depth) in points."""
    from matplotlib.transforms import ScaledTranslation, blended_transform_factory

    inches = ax.figure.dpi_scale_trans + ScaledTranslation(1, 1, ax.transAxes)  # from the upper right corner
    gap, size = gap / 72, size / 72
    if side == "top":
        place, bounds = blended_transform_factory(ax.transAxes, inches), (0, gap, 1, size)
    else:
        place, bounds = blended_transform_factory(inches, ax.transAxes), (gap, 0, size, 1)
    return ax.inset_axes(bounds, transform=place, **sharing)
