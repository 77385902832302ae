"""LabelEfficiencyDisplay: a line per representation, at the labels that were used."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedKFold

from sklearn_cpc.displays import LabelEfficiencyDisplay
from sklearn_cpc.evaluation import label_efficiency

NAMES = ["chance", "mfcc", "cpc (untrained)", "cpc"]


def make_table(sizes=(1, 5, "all"), used=(1.0, 4.5, 24.0), std=0.1, names=NAMES):
    """Scores that rise with the labels, each representation 0.1 above the one before."""
    rows = [
        {"representation": name, "n_labels": size, "mean": 0.1 * i + 0.01 * n, "std": std, "n_used": n}
        for i, name in enumerate(names)
        for size, n in zip(sizes, used, strict=True)
    ]
    return pd.DataFrame(rows).assign(scoring="accuracy").set_index(["representation", "n_labels"])


def lines_of(display):
    return {line.get_label(): line for line in display.ax_.get_lines()}


def ticks_of(display):
    return dict(
        zip(
            display.ax_.get_xticks().tolist(),
            [text.get_text().strip() for text in display.ax_.get_xticklabels()],
            strict=True,
        )
    )


def test_lines_are_the_means_at_the_labels_used(draw):
    display = LabelEfficiencyDisplay.from_table(make_table())
    draw(display)
    lines = lines_of(display)
    assert list(lines) == NAMES
    np.testing.assert_array_equal(lines["cpc"].get_xdata(), [1, 4.5, 24])
    np.testing.assert_allclose(lines["cpc"].get_ydata(), [0.31, 0.345, 0.54])
    assert display.ax_.get_xscale() == "log"
    assert ticks_of(display) == {1: "1", 4.5: "4.5", 24: "all"}
    assert display.ax_.get_xlabel() == "labels per class"
    assert display.ax_.get_ylabel() == "accuracy"
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == NAMES


def test_bands_are_one_standard_deviation_wide(draw):
    display = LabelEfficiencyDisplay.from_table(make_table(names=["chance", "cpc"]))
    (band,) = display.ax_.collections  # none for chance
    low, high = band.get_datalim(display.ax_.transData).intervaly
    assert (low, high) == pytest.approx((0.11 - 0.1, 0.34 + 0.1))
    draw(LabelEfficiencyDisplay.from_table(make_table(std=np.nan)))  # of one fold there is none


def test_untrained_network_is_dashed_in_the_colour_of_the_trained():
    lines = lines_of(LabelEfficiencyDisplay.from_table(make_table()))
    assert same_color(lines["cpc (untrained)"].get_color(), lines["cpc"].get_color())
    assert lines["cpc (untrained)"].get_linestyle() == "--"
    assert lines["cpc"].get_linestyle() == "-"
    assert not same_color(lines["mfcc"].get_color(), lines["cpc"].get_color())


def test_thirty_representations_differ_in_colour_or_marker():
    display = LabelEfficiencyDisplay.from_table(make_table(names=[f"model {i}" for i in range(30)]))
    assert len({(line.get_color(), line.get_marker()) for line in display.ax_.get_lines()}) == 30


def test_equal_numbers_of_labels_share_a_tick(draw):
    display = LabelEfficiencyDisplay.from_table(make_table((5, 50, "all"), (5.0, 24.0, 24.0)))
    draw(display)
    assert ticks_of(display) == {5: "5", 24: "all"}


def test_single_number_of_labels_and_parts_of_a_table_are_drawn(draw):
    table = make_table()
    draw(LabelEfficiencyDisplay.from_table(table.xs(5, level="n_labels", drop_level=False)))
    part = LabelEfficiencyDisplay.from_table(table.loc[["cpc (untrained)"]])
    assert list(lines_of(part)) == ["cpc (untrained)"]


def test_table_read_from_a_file_gives_the_same_figure(tmp_path):
    table = make_table()
    table.to_csv(tmp_path / "table.csv")
    read = pd.read_csv(tmp_path / "table.csv", index_col=[0, 1])
    before, after = (LabelEfficiencyDisplay.from_table(one) for one in (table, read))
    assert ticks_of(before) == ticks_of(after)
    for name, line in lines_of(before).items():
        np.testing.assert_array_equal(line.get_xydata(), lines_of(after)[name].get_xydata())


def test_from_estimator_draws_the_table_of_its_parameters():
    X, y = np.random.default_rng(0).standard_normal((24, 3)), np.tile(["a", "b"], 12)
    how = {"cv": StratifiedKFold(2), "n_labels": (1, None), "n_draws": 2, "scoring": "balanced_accuracy"}
    ax = plt.subplots()[1]
    display = LabelEfficiencyDisplay.from_estimator({"pca": PCA(1)}, X, y, ax=ax, **how)
    pd.testing.assert_frame_equal(display.table, label_efficiency({"pca": PCA(1)}, X, y, **how))
    assert display.ax_ is ax
    assert ax.get_ylabel() == "balanced_accuracy"


@pytest.mark.parametrize(
    "table", [make_table()[:0], make_table().reset_index(), make_table().drop(columns="n_used")]
)
def test_other_tables_are_refused(table):
    with pytest.raises(ValueError, match="the table must be one of label_efficiency"):
        LabelEfficiencyDisplay.from_table(table)
    assert plt.get_fignums() == []
