"""What all displays share: public names, documentation, and the parameter ax."""

import ast
import inspect
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from sklearn_cpc import displays
from sklearn_cpc.displays import (
    ConfusionDisplay,
    EmbeddingDisplay,
    LabelEfficiencyDisplay,
    LossCurveDisplay,
    RecordingDisplay,
)
from sklearn_cpc.displays._drawing import COLOURS, MARKERS, text_colour_on

PACKAGE = Path(displays.__file__).parent
CLASSES = [getattr(displays, name) for name in displays.__all__]


def a_loss_curve(**how):
    return LossCurveDisplay.from_history([{"train_loss": 2.0, "train_accuracy": 0.5}], **how)


def a_confusion(**how):
    return ConfusionDisplay.from_predictions(["a", "b", "b"], ["a", "a", "b"], **how)


def an_embedding(**how):
    rows = np.random.default_rng(0).standard_normal((8, 2))
    return EmbeddingDisplay.from_embeddings(rows[:5], list("aabba"), rows[5:], list("abb"), random_state=0, **how)


def a_recording(**how):
    return RecordingDisplay.from_frames(np.sin(np.arange(400.0)), 1000, **how)


def a_label_efficiency(name="cpc", **how):
    index = pd.MultiIndex.from_product([["mfcc", name], [1, "all"]], names=["representation", "n_labels"])
    columns = {"mean": [0.5, 0.6, 0.6, 0.8], "std": 0.1, "n_used": [1.0, 8.0] * 2, "scoring": "accuracy"}
    return LabelEfficiencyDisplay.from_table(pd.DataFrame(columns, index), **how)


DISPLAYS = pytest.mark.parametrize(
    "display", [a_loss_curve, a_confusion, an_embedding, a_recording, a_label_efficiency]
)


def test_public_names_are_these():
    expected = ["Confusion", "Embedding", "LabelEfficiency", "LossCurve", "Recording"]
    assert sorted(displays.__all__) == sorted(["EmbeddingMap", *(f"{name}Display" for name in expected)])


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_matplotlib_is_imported_only_inside_functions(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
    assert [name for name in names if name.startswith("matplotlib")] == []


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_source_never_shows_figures_or_changes_settings(path):
    assert re.findall(r"rcParams|plt\.show|plt\.style|pyplot\.show", path.read_text(encoding="utf-8")) == []


@DISPLAYS
def test_display_makes_its_own_figure(display, draw):
    drawn = display()
    assert drawn.figure_ is drawn.ax_.figure
    draw(drawn)
    assert plt.get_fignums() == [drawn.figure_.number]


@DISPLAYS
def test_display_draws_into_given_axes(display, draw):
    figure, (_, ax) = plt.subplots(1, 2)
    drawn = display(ax=ax)
    assert drawn.ax_ is ax
    assert drawn.figure_ is figure
    assert plt.get_fignums() == [figure.number]
    draw(drawn)


@DISPLAYS
def test_axes_placed_by_hand_are_accepted(display, draw):
    ax = plt.figure().add_axes([0.2, 0.2, 0.6, 0.6])
    drawn = display(ax=ax)
    draw(drawn)
    for panel in drawn.figure_.axes:
        if panel.get_subplotspec() is not None:
            box = panel.get_position()
            assert box.x0 >= 0.19
            assert box.y1 <= 0.81


@DISPLAYS
def test_display_can_be_plotted_again(display):
    first = display()
    figure = first.figure_
    assert first.plot() is first
    assert first.figure_ is not figure


N_PANELS = {a_loss_curve: 2, a_confusion: 1, an_embedding: 1, a_recording: 2, a_label_efficiency: 1}


@pytest.mark.parametrize("display", N_PANELS)
def test_one_axes_per_panel_can_be_given(display):
    n_panels = N_PANELS[display]
    axes = plt.subplots(1, n_panels, squeeze=False)[1][0]
    drawn = display(ax=list(axes))
    panels = list(drawn.axes_.values()) if isinstance(drawn.axes_, dict) else list(drawn.axes_)
    assert panels[:n_panels] == list(axes)
    assert drawn.ax_ is axes[0]
    with pytest.raises(ValueError, match=rf"ax holds {n_panels + 1} axes, but there are {n_panels} panels"):
        display(ax=plt.subplots(1, n_panels + 1)[1])


@DISPLAYS
def test_unknown_plot_keyword_is_refused(display):
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        display(colour="red")


def test_text_contrasts_with_its_background():
    assert text_colour_on((1, 1, 1, 1)) == "black"
    assert text_colour_on((0, 0, 0, 1)) == "white"
    assert text_colour_on((1, 0.9, 0, 1)) == "black"
    assert text_colour_on((0, 0.13, 0.3, 1)) == "white"


def test_seventy_classes_differ_in_colour_or_marker():
    assert np.gcd(len(COLOURS), len(MARKERS)) == 1
    assert len(COLOURS) * len(MARKERS) == 70


# Documentation


def section(function, title):
    """Names in a numpydoc section."""
    match = re.search(rf"^{title}\n-+\n(.*?)(?=^\S[^\n]*\n-+$|\Z)", inspect.getdoc(function), re.M | re.S)
    lines = re.findall(r"^(\*{0,2}\w[\w, ]*?)(?: : (.*))?$", match[1], re.M) if match else []
    return {name.strip(" *"): kind for names, kind in lines for name in names.split(",")}


def public_methods(cls):
    for name in vars(cls):
        if not name.startswith("_") and callable(getattr(cls, name)):
            yield getattr(cls, name)


DOCUMENTED = [*CLASSES, *(method for cls in CLASSES for method in public_methods(cls))]


@pytest.mark.parametrize("public", DOCUMENTED, ids=lambda public: public.__qualname__)
def test_parameters_are_documented_with_their_defaults(public):
    documented, parameters = section(public, "Parameters"), inspect.signature(public).parameters
    assert set(documented) == set(parameters) - {"self"}
    for name, kind in documented.items():
        if kind and "default=" in kind:
            assert ast.literal_eval(kind.split("default=")[1]) == parameters[name].default, name
        elif kind:
            assert parameters[name].default is inspect.Parameter.empty, name


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_display_has_an_example(cls):
    assert "Examples\n--------\n" in inspect.getdoc(cls)


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if hasattr(cls, "plot")], ids=lambda cls: cls.__name__)
def test_every_figure_follows_the_convention(cls):
    assert inspect.signature(cls.plot).parameters["ax"].kind is inspect.Parameter.KEYWORD_ONLY
    makers = [method for method in public_methods(cls) if method.__name__.startswith("from_")]
    assert "from_estimator" in [maker.__name__ for maker in makers]
    for maker in makers:  # they pass keywords on to plot
        kinds = {parameter.kind for parameter in inspect.signature(maker).parameters.values()}
        assert inspect.Parameter.VAR_KEYWORD in kinds


def visible_texts(figure):
    return [text for text in figure.findobj(plt.Text) if text.get_text()]


NAMES = ["cost $a$ and $b", "$\\frac$ $", "_hidden", "50 % & #1 ^2 {x} \\n"]
HISTORY = [{"train_loss": 2.0, "valid_loss": 1.0}]


def assert_drawn_as_it_is(name, figure):
    texts = [text for text in visible_texts(figure) if name in text.get_text()]
    assert texts, name
    assert not any(text.get_parse_math() for text in texts), name


@pytest.mark.parametrize(
    "display",
    [
        lambda rows: LossCurveDisplay.from_history(dict.fromkeys(NAMES, HISTORY)),
        lambda rows: LossCurveDisplay.from_history(HISTORY, reference_lines={"loss": dict.fromkeys(NAMES, 1.0)}),
        lambda rows: ConfusionDisplay.from_predictions(NAMES * 3, NAMES * 3),
        lambda rows: EmbeddingDisplay.from_embeddings(rows, NAMES * 3),
        lambda rows: EmbeddingDisplay.from_embeddings(rows, NAMES * 3).plot(by="split"),
    ],
    ids=["histories", "lines", "confusion", "classes", "panels of classes"],
)
def test_several_names_are_drawn_as_they_are(display, draw):
    drawn = display(np.random.default_rng(0).standard_normal((12, 2)))
    draw(drawn)  # invalid formulas would raise
    for name in NAMES:
        assert_drawn_as_it_is(name, drawn.figure_)


@pytest.mark.parametrize("name", NAMES)
def test_one_name_is_drawn_as_it_is(draw, name):
    drawn = [
        LossCurveDisplay.from_history(HISTORY, name=name),
        LossCurveDisplay.from_history(HISTORY, stage=name),
        EmbeddingDisplay(np.random.default_rng(0).standard_normal((12, 2)), name=name).plot(),
        a_recording(name=name),
        a_label_efficiency(name=name),
    ]
    for display in drawn:
        draw(display)  # invalid formulas would raise
        assert_drawn_as_it_is(name, display.figure_)
        plt.close(display.figure_)
