"""Style: colours that every reader can tell apart, and markers and text to go with them."""

import numpy as np

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


def text_colour_on(rgba):
    """Return black or white, whichever has more contrast (as the W3C defines it) with a colour in RGB, 0 to 1."""
    rgb = np.asarray(rgba[:3])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    return "black" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "white"
