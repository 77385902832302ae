"""LinearProbe: a linear classifier that says how good features are, whatever their scale."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_iris, make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from skorch.callbacks import Callback, EarlyStopping

from sklearn_cpc import LinearProbe


def quick(**changes):
    return LinearProbe(**{"lr": 0.05, "max_epochs": 20, "random_state": 0, "device": "cpu", **changes})


@pytest.fixture(scope="module")
def iris():
    """Features, and species by name. Not to be changed."""
    data = load_iris()
    return data.data, data.target_names[data.target]


@pytest.fixture(scope="module")
def two_blobs():
    """Two classes that overlap, one three times as frequent. Not to be changed."""
    X, y = make_blobs([150, 50], 4, centers=[[0] * 4, [1] * 4], cluster_std=1.5, random_state=0)
    return X, np.array(["common", "rare"])[y]


class Fails(Callback):
    def on_batch_end(self, net, **_):
        raise RuntimeError("stop")


def test_training_defaults_are_those_of_table_5():
    defaults = LinearProbe().get_params()
    assert (defaults["max_epochs"], defaults["lr"], defaults["batch_size"]) == (10, 1e-4, 32)


def test_labels_are_strings_in_and_out(iris):
    X, y = iris
    probe = quick().fit(X, y)
    assert probe.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert set(probe.predict(X)) == set(y)
    assert probe.score(X, y) > 0.93


@pytest.mark.parametrize(
    "labels", [np.array([-1, 7]), np.array([False, True]), np.array(["a", "b"], dtype=object)]
)
def test_labels_may_be_of_any_kind(labels, two_blobs):
    X, y = two_blobs
    y = labels[(y == "rare").astype(int)]
    predicted = quick().fit(X, y).predict(X)
    assert predicted.dtype == labels.dtype
    assert (predicted == y).mean() > 0.75


def test_several_classes_are_scored_one_by_one(iris):
    X, y = iris
    probe = quick().fit(X, y)
    logits, share = probe.decision_function(X), probe.predict_proba(X)
    assert logits.shape == share.shape == (150, 3)
    assert_allclose(share, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), rtol=1e-6)
    assert_allclose(share.sum(axis=1), 1)
    assert_array_equal(probe.classes_[share.argmax(axis=1)], probe.predict(X))


def test_two_classes_are_scored_by_the_second(two_blobs):
    X, y = two_blobs
    probe = quick().fit(X, y)
    decision, share = probe.decision_function(X), probe.predict_proba(X)
    assert decision.shape == (200,)
    assert_allclose(share[:, 1], 1 / (1 + np.exp(-decision)), rtol=1e-6)
    assert_array_equal(decision > 0, probe.predict(X) == "rare")


def test_an_untrained_probe_prefers_no_class(iris):
    share = quick(max_epochs=0).fit(*iris).predict_proba(iris[0])
    assert_array_equal(share, np.full((150, 3), 1 / 3))


def test_initial_loss_is_log_of_number_of_classes(iris):
    history = quick(lr=1e-6, max_epochs=1).fit(*iris).history_
    assert history[0]["train_loss"] == pytest.approx(np.log(3), abs=1e-3)


def test_the_history_holds_loss_and_accuracy_of_every_epoch(iris):
    probe = quick(max_epochs=15).fit(*iris)
    assert [sorted(row) for row in probe.history_] == [["dur", "epoch", "train_accuracy", "train_loss"]] * 15
    assert probe.history_[-1]["train_loss"] < probe.history_[0]["train_loss"]
    assert probe.history_[-1]["train_accuracy"] > 0.9
    assert probe.n_iter_ == 15


def test_the_scale_of_features_does_not_matter(iris):
    X, y = iris
    share = quick().fit(X, y).predict_proba(X)
    assert_allclose(quick().fit(1000 * X - 7, y).predict_proba(1000 * X - 7), share, atol=1e-4)


def test_it_agrees_with_logistic_regression_on_separable_classes():
    X, y = make_blobs(120, 5, centers=4, cluster_std=0.5, random_state=0)
    reference = LogisticRegression().fit(X, y)
    assert_array_equal(quick(max_epochs=40).fit(X, y).predict(X), reference.predict(X))


def test_fully_trained_probe_equals_logistic_regression(two_blobs):
    X, y = two_blobs
    probe = quick(dropout=0.0, lr=0.02, batch_size=200, max_epochs=600).fit(X, y)
    reference = LogisticRegression(C=np.inf).fit(probe.scaler_.transform(X), y)
    assert_allclose(probe.predict_proba(X), reference.predict_proba(probe.scaler_.transform(X)), atol=0.01)


def test_balanced_weights_find_more_of_the_rare_class(two_blobs):
    X, y = two_blobs
    plain, balanced = quick().fit(X, y), quick(class_weight="balanced").fit(X, y)
    assert (balanced.predict(X) == "rare").mean() > (plain.predict(X) == "rare").mean() + 0.05
    by_hand = quick(class_weight={"common": 200 / 300, "rare": 200 / 100}).fit(X, y)
    assert_allclose(by_hand.predict_proba(X), balanced.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("class_weight", ["heavy", {"unheard": 2.0}])
def test_weights_of_unknown_classes_are_refused(class_weight, iris):
    with pytest.raises(ValueError, match="class_weight"):
        quick(class_weight=class_weight).fit(*iris)


def test_one_class_is_refused(iris):
    X, _ = iris
    with pytest.raises(ValueError, match="y has one class only, 'a'; a classifier needs at least two"):
        quick().fit(X, ["a"] * 150)


def test_continuous_labels_are_refused(iris):
    X, _ = iris
    with pytest.raises(ValueError, match="Unknown label type"):
        quick().fit(X, X[:, 0] + 0.5)


def test_partial_fit_learns_classes_that_appear_later(iris):
    X, y = iris
    probe = quick()
    for part in (slice(0, 100), slice(50, 150), slice(None)):
        probe.partial_fit(X[part], y[part], classes=np.unique(y))
    assert probe.classes_.tolist() == np.unique(y).tolist()
    assert [row["epoch"] for row in probe.history_] == [1, 2, 3]
    for _ in range(20):
        probe.partial_fit(X, y)
    assert probe.score(X, y) > 0.9


def test_labels_missing_from_classes_are_refused(iris):
    X, y = iris
    probe = quick().partial_fit(X[:100], y[:100])
    with pytest.raises(
        ValueError, match=r"y holds labels \['virginica'\] that are not among classes=\['setosa', 'v"
    ):
        probe.partial_fit(X, y)
    with pytest.raises(ValueError, match=r"classes=.* are not those of the first call"):
        probe.partial_fit(X[:100], y[:100], classes=np.unique(y))


def test_balanced_weights_need_every_class(iris):
    X, y = iris
    with pytest.raises(ValueError, match=r"class_weight='balanced'.* but y lacks \['virginica'\]"):
        quick(class_weight="balanced").partial_fit(X[:100], y[:100], classes=np.unique(y))


def test_warm_start_continues_training(iris):
    X, y = iris
    probe = quick(warm_start=True, max_epochs=2).fit(X, y)
    loss = probe.history_[-1]["train_loss"]
    probe.fit(X, y)
    assert [row["epoch"] for row in probe.history_] == [1, 2, 3, 4]
    assert probe.history_[-1]["train_loss"] < loss


def test_fit_starts_from_scratch(iris, two_blobs):
    X, y = iris
    probe = quick().fit(*two_blobs).fit(X, y)
    assert_array_equal(probe.predict_proba(X), quick().fit(X, y).predict_proba(X))
    assert probe.n_iter_ == 20


def test_same_seed_gives_same_probe_without_touching_global_rng(iris):
    X, y = iris
    before = torch.random.get_rng_state()
    share = quick().fit(X, y).predict_proba(X)
    assert_array_equal(quick().fit(X, y).predict_proba(X), share)
    assert (quick(random_state=1).fit(X, y).predict_proba(X) != share).any()
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_type_of_features_is_the_type_of_probabilities(dtype, iris):
    X, y = iris
    assert quick().fit(X, y).predict_proba(X.astype(dtype)).dtype == dtype


def test_failed_fit_leaves_estimator_unchanged(iris, two_blobs):
    X, y = iris
    probe = quick().fit(X, y)
    before = probe.predict_proba(X)
    with pytest.raises(ValueError, match="one class only"):
        probe.fit(X[:, :2], ["other"] * 150)
    with pytest.raises(RuntimeError, match="stop"):
        probe.set_params(callbacks=[Fails()]).fit(*two_blobs)
    assert_array_equal(probe.predict_proba(X), before)
    assert probe.predict(X)[0] == "setosa"
    with pytest.raises(RuntimeError, match="stop"):
        (unfitted := clone(probe)).fit(X, y)
    assert set(vars(unfitted)) == set(unfitted.get_params())


def test_early_stopping_stops(iris):
    stopper = EarlyStopping(monitor="train_accuracy", lower_is_better=False, patience=3)
    assert quick(max_epochs=500, callbacks=[stopper]).fit(*iris).n_iter_ < 500


def test_it_is_quiet_unless_asked(iris, capfd):
    quick().fit(*iris)
    assert capfd.readouterr() == ("", "")
    quick(verbose=1).fit(*iris)
    assert "linear probe" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"dropout": 1.0}, ValueError, "'dropout' parameter of "),
        ({"max_epochs": -1}, ValueError, "'max_epochs' parameter of "),
        ({"batch_size": 2.5}, TypeError, "'batch_size' parameter of "),
        ({"lr": -1.0}, ValueError, "'lr' parameter of "),
        ({"device": "gpu"}, ValueError, "device='gpu' cannot be used here"),
        ({"callbacks": [3]}, TypeError, "callbacks holds 3, which is not a skorch callback"),
    ],
    ids=str,
)
def test_a_bad_parameter_is_named(parameters, error, message, iris):
    with pytest.raises(error, match=message):
        quick(**parameters).fit(*iris)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_use_before_fit_is_refused(method, iris):
    with pytest.raises(NotFittedError, match="This LinearProbe instance is not fitted yet"):
        getattr(quick(), method)(iris[0])
