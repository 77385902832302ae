"""Style: colours that every reader can tell apart, and markers and text to go with them."""

import numpy as np

# Okabe and Ito's palette without its yellow, which is too pale for lines and dots on white, then indigo, wine and
# olive of Paul Tol's, which are as dark as to differ from those to colour-blind readers too.
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"),
    *("#332288", "#882255", "#999933"),
)
# All can be drawn filled or hollow. Their number shares no factor with that of the colours, so that
# 70 classes pass before a pair comes back.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
QUIET = "0.45"  # grey of what is not data: levels of chance, bars of equal shares
CHARACTER = 0.6  # width of a letter or digit, in font sizes


def colour_of(index):
    """Colour of a class or model, by its number."""
    return COLOURS[index % len(COLOURS)]


def marker_of(index):
    """Marker of a class, by its number."""
    return MARKERS[index % len(MARKERS)]


def text_colour_on(rgba):
    """Black or white, whichever stands out more from a colour, given as RGB in [0, 1] (W3C's contrast ratio)."""
    rgb = np.asarray(rgba[:3])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    return "black" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "white"
