"""LossCurveDisplay: a curve for each recorded quantity, and correct levels of chance."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
from corpus import rising_tones, small_cpc, small_encoder
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_cpc import AutoencoderReducer, InfoNCE, LinearProbe
from sklearn_cpc.displays import LossCurveDisplay

Y = np.array(["high", "low", "mid"])[np.arange(12) % 3]


@pytest.fixture(scope="module")
def pipeline():
    """CPC, autoencoder and probe, fitted for two, three and four epochs."""
    reducer = AutoencoderReducer(2, max_epochs=3, random_state=0)
    steps = small_cpc(max_epochs=2), StandardScaler(), reducer, LinearProbe(max_epochs=4, random_state=0)
    return make_pipeline(*steps).fit(rising_tones(12), Y)


def lines_of(panel):
    return {line.get_label(): line for line in panel.get_lines()}


def test_curves_hold_the_values_of_the_history(pipeline):
    cpc = pipeline[0]
    display = LossCurveDisplay.from_estimator(cpc, chance=False)
    for curve in display.curves:
        key = f"{curve.split}_{curve.quantity}" + (f"_{curve.step}" if curve.step else "")
        assert curve.values.tolist() == [row[key] for row in cpc.history_]
        assert curve.epochs.tolist() == [1, 2]
    drawn = sum(len(panel.get_lines()) for panel in display.axes_.values())
    assert drawn == len(display.curves) == 4  # loss, accuracy, and accuracy one and two steps ahead


def test_lines_show_the_curves(pipeline):
    display = LossCurveDisplay.from_estimator(pipeline[0], chance=False)
    assert list(display.axes_) == [("CPC", "loss"), ("CPC", "accuracy")]
    lines = lines_of(display.axes_["CPC", "accuracy"])
    assert list(lines) == ["all steps", "1 ahead", "2 ahead"]
    assert lines["2 ahead"].get_ydata().tolist() == [row["train_accuracy_2"] for row in pipeline[0].history_]
    assert "nats" in display.axes_["CPC", "loss"].get_ylabel()


def test_pipeline_gets_a_row_of_panels_per_trained_step(pipeline, draw):
    display = LossCurveDisplay.from_estimator(pipeline)
    assert list(display.axes_) == [
        ("CPC", "loss"),
        ("CPC", "accuracy"),
        ("autoencoder", "loss"),
        ("linear probe", "loss"),
        ("linear probe", "accuracy"),
    ]
    draw(display)
    places = [panel.get_position() for panel in display.axes_.values()]
    assert places[0].y0 > places[2].y1
    assert places[2].y0 > places[3].y1
    assert places[1].x0 > places[0].x1


def test_untrained_steps_are_left_out(pipeline):
    untrained = make_pipeline(small_cpc(max_epochs=0), pipeline[-1])
    untrained[0].fit(rising_tones(4))
    assert {stage for stage, _ in LossCurveDisplay.from_estimator(untrained).axes_} == {"linear probe"}


@pytest.mark.parametrize(
    ("changes", "n"),
    [
        ({}, 4),  # the clips of a batch
        ({"n_across": 12}, 10),  # three quarters of 12 come from other clips; plus the true one
        ({"negatives": "within"}, 8),  # the steps of a clip
        ({"negatives": "mixed"}, 11),
        ({"negatives": "mixed", "n_across": 12}, 17),
    ],
)
def test_chance_of_cpc_is_guessing_among_its_windows(changes, n):
    cpc = small_cpc(objective=InfoNCE(**changes))
    display = LossCurveDisplay.from_estimator(cpc.fit(rising_tones(4)))
    levels = {level.quantity: level.value for level in display.levels}
    assert levels["loss"] == pytest.approx(math.log(n))
    assert levels["accuracy"] == pytest.approx(1 / n)
    line = lines_of(display.axes_["CPC", "loss"])[f"chance, ln {n}"]
    assert set(line.get_ydata()) == {math.log(n)}


def test_loss_of_an_untrained_network_is_at_chance():
    still = np.tile(rising_tones(1), (4, 1))  # all clips are equal, so nothing can be learned
    cpc = small_cpc(encoder=small_encoder(dropout=0), lr=1e-12).fit(still)
    display = LossCurveDisplay.from_estimator(cpc)
    level = next(level for level in display.levels if level.quantity == "loss")
    assert cpc.history_[0]["train_loss"] == pytest.approx(level.value, abs=1e-5)


def test_chance_of_a_probe_assumes_equal_classes(pipeline):
    display = LossCurveDisplay.from_estimator(pipeline[-1])
    assert {level.quantity: level.value for level in display.levels} == {"loss": math.log(3), "accuracy": 1 / 3}
    assert LossCurveDisplay.from_estimator(pipeline[-1], chance=False).levels == []


def test_models_share_panels_and_differ_in_colour(pipeline):
    display = LossCurveDisplay.from_estimator({"one": pipeline[-1], "two": pipeline[-1]})
    lines = lines_of(display.axes_["linear probe", "loss"])
    assert list(lines) == ["one", "two", "chance, ln 3"]  # one line of chance
    assert lines["one"].get_color() != lines["two"].get_color()


def test_models_of_a_list_are_named_after_their_classes(pipeline):
    display = LossCurveDisplay.from_estimator([pipeline[0], pipeline[-1], pipeline[-1]])
    assert list(dict.fromkeys(curve.model for curve in display.curves)) == [
        "CPCTransformer",
        "LinearProbe 2",
        "LinearProbe 3",
    ]


def test_future_steps_are_drawn_for_single_models_only(pipeline):
    display = LossCurveDisplay.from_estimator({"one": pipeline[0], "two": pipeline[0]}, chance=False)
    assert list(lines_of(display.axes_["CPC", "accuracy"])) == ["one", "two"]


def test_nested_pipelines_are_searched(pipeline):
    nested = make_pipeline(make_pipeline(pipeline[0], StandardScaler()), pipeline[-1]).fit(rising_tones(12), Y)
    assert {stage for stage, _ in LossCurveDisplay.from_estimator(nested).axes_} == {"CPC", "linear probe"}


def test_estimators_of_other_packages_are_named_after_their_class():
    class Classifier(BaseEstimator):
        def fit(self, X, y=None):
            self.history_ = [{"train_loss": 1.0}]
            return self

    display = LossCurveDisplay.from_estimator(Classifier().fit([[0.0]]))
    assert list(display.axes_) == [("Classifier", "loss")]
    assert display.levels == []


# Histories

HISTORY = [
    {"epoch": epoch, "train_loss": 1 / epoch, "test_loss": 2 / epoch, "test_accuracy": epoch / 9, "dur": 1.0}
    for epoch in range(1, 5)
]


def test_quantities_are_panels_and_splits_are_curves():
    rows = [{**row, "valid_score": 0.1, "train_effective_rank": 3, "train_loss_best": True} for row in HISTORY]
    display = LossCurveDisplay.from_history(rows)
    assert list(display.axes_) == [("", name) for name in ("loss", "accuracy", "score", "effective_rank")]
    assert list(lines_of(display.axes_["", "loss"])) == ["train", "test"]
    assert display.axes_["", "effective_rank"].get_ylabel() == "effective rank"


def test_number_suffix_is_a_step_only_beside_the_mean():
    display = LossCurveDisplay.from_history([{"train_accuracy": 1.0, "train_accuracy_3": 1.0, "train_top_5": 1.0}])
    assert [(curve.quantity, curve.step) for curve in display.curves] == [
        ("accuracy", None),
        ("accuracy", 3),
        ("top_5", None),
    ]


def test_number_of_classes_gives_the_level_of_chance():
    display = LossCurveDisplay.from_history(HISTORY, n_classes=5)
    assert {level.quantity: level.value for level in display.levels} == {"loss": math.log(5), "accuracy": 1 / 5}


def test_reference_lines_are_drawn_in_their_panels():
    lines = {"chance": 0.1, "untrained": 0.22, "loss": {"chance": math.log(10)}}
    display = LossCurveDisplay.from_history(HISTORY, reference_lines=lines)
    accuracy, loss = (lines_of(display.axes_["", name]) for name in ("accuracy", "loss"))
    assert set(accuracy["untrained"].get_ydata()) == {0.22}
    assert set(accuracy["chance"].get_ydata()) == {0.1}
    assert set(loss["chance"].get_ydata()) == {math.log(10)}
    assert accuracy["chance"].get_linestyle() != accuracy["untrained"].get_linestyle()


def test_reference_lines_of_a_pipeline_belong_to_its_classifier(pipeline):
    display = LossCurveDisplay.from_estimator(pipeline, reference_lines={"untrained": 0.4})
    assert [level.stage for level in display.levels if level.label == "untrained"] == ["linear probe"]


@pytest.mark.parametrize("values", [[0.99, 1.0], [0.4, 0.4], [0.0, 0.0], [math.nan, math.nan]])
def test_axis_of_shares_starts_at_zero_and_ends_above_the_curve(values):
    display = LossCurveDisplay.from_history([{"valid_accuracy": value} for value in values])
    low, high = display.ax_.get_ylim()
    assert low == 0
    assert high >= 1.04 * values[1] or math.isnan(values[1])


def test_quantities_and_splits_can_be_chosen():
    both = {"one": HISTORY, "two": HISTORY}
    display = LossCurveDisplay.from_history(both, splits=["test"], quantities=["loss"])
    assert list(display.axes_) == [("", "loss")]
    assert list(lines_of(display.ax_)) == ["one", "two"]
    assert display.ax_.get_legend().get_title().get_text() == "test"
    display.plot(splits=["train", "test"], line_kw={"lw": 7})
    assert {line.get_linewidth() for line in display.axes_["", "loss"].get_lines()} == {7}


def test_long_legends_widen_the_figure(draw):
    panels = {}
    for n_models in (4, 5, 10):
        display = LossCurveDisplay.from_history({f"a model of number {i}": HISTORY for i in range(n_models)})
        display.figure_.canvas.draw()
        panels[n_models] = [panel.get_window_extent().width for panel in display.axes_.values()]
    for n_models in (5, 10):
        np.testing.assert_allclose(
            panels[n_models], panels[4], rtol=0.25
        )  # without it, the legend would take two thirds of the width


def test_gaps_and_single_epochs_are_drawn(draw):
    gaps = [{"train_loss": 1.0}, {"train_loss": math.nan, "test_loss": 2.0}, {"train_loss": 0.5}]
    display = LossCurveDisplay.from_history(gaps)
    np.testing.assert_array_equal(display.curves[0].values, [1.0, math.nan, 0.5])
    np.testing.assert_array_equal(display.curves[1].values, [math.nan, 2.0, math.nan])
    draw(display)
    single = LossCurveDisplay.from_history(gaps[:1])
    draw(single)
    assert single.ax_.get_lines()[0].get_marker() == "o"


def test_from_training_draws_train_and_test(pipeline):
    rows = pipeline[:-1].transform(rising_tones(12))
    display = LossCurveDisplay.from_training(LinearProbe(random_state=0), rows, Y, rows, Y, max_epochs=2)
    assert list(lines_of(display.axes_["linear probe", "loss"])) == ["train", "test", "chance, ln 3"]
    assert [len(curve.values) for curve in display.curves] == [2] * 4


# Errors


@pytest.mark.parametrize(
    ("error", "message", "estimator"),
    [
        (NotFittedError, "not fitted", LinearProbe()),
        (TypeError, "StandardScaler has no history_", StandardScaler().fit([[0.0]])),
        (TypeError, "Pipeline has no history_", make_pipeline(StandardScaler()).fit([[0.0]])),
        (ValueError, "trained for no epoch", LinearProbe(max_epochs=0).fit([[0.0], [1.0]], [0, 1])),
    ],
)
def test_estimators_without_history_are_refused(error, message, estimator):
    with pytest.raises(error, match=message):
        LossCurveDisplay.from_estimator(estimator)


@pytest.mark.parametrize(
    ("error", "message", "history"),
    [
        (ValueError, "history of the model is empty: it was trained for no epoch", []),
        (ValueError, "history of b is empty", {"a": HISTORY, "b": []}),
        (TypeError, "is a float; it must be a list with a dict", 0.5),
        (TypeError, "is a list; it must be a list with a dict", [0.5]),
        (
            ValueError,
            r"holds no number under train_..., valid_... or test_..., only \['dur', 'loss'\]",
            [{"loss": 1, "dur": 1}],
        ),
    ],
)
def test_invalid_histories_are_refused(error, message, history):
    with pytest.raises(error, match=message):
        LossCurveDisplay.from_history(history)
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("message", "how"),
    [
        (
            r"quantities=\['rank'\] must be a list of what was recorded: \['accuracy', 'loss'\]",
            {"quantities": ["rank"]},
        ),
        ("quantities='loss' must be a list", {"quantities": "loss"}),
        ("splits=.*'train'", {"splits": ["valid"]}),
        ("no curve is left", {"splits": ["train"], "quantities": ["accuracy"]}),
        (
            r"names 'score', but only \['accuracy', 'loss'\] were recorded",
            {"reference_lines": {"score": {"chance": 0.1}}},
        ),
    ],
)
def test_unrecorded_quantities_and_splits_are_refused(message, how):
    with pytest.raises(ValueError, match=message):
        LossCurveDisplay.from_history(HISTORY, **how)
