"""Figures are drawn without a screen, and closed after each test."""

import matplotlib
import pytest

matplotlib.use("agg")
import matplotlib.pyplot as plt


@pytest.fixture(autouse=True)
def figures():
    """Close all figures, and check that no display changes matplotlib's settings."""
    settings = dict(matplotlib.rcParams)
    yield
    plt.close("all")
    assert dict(matplotlib.rcParams) == settings


@pytest.fixture
def draw():
    """Render a figure as saving it does, because layout and text are computed only then."""
    return lambda display: display.figure_.canvas.draw()
