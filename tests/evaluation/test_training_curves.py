"""record_training: loss and accuracy of predictions after every epoch."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from sklearn_cpc import LinearProbe
from sklearn_cpc.evaluation import record_training

X, X_TEST, Y, Y_TEST = train_test_split(*load_iris(return_X_y=True), random_state=0)
NAMES = np.array(["setosa", "versicolor", "virginica"])


@pytest.mark.parametrize("names", [np.arange(3), NAMES], ids=["numbers", "strings"])
def test_history_equals_training_by_hand(names):
    probe = LinearProbe(lr=0.01, random_state=0)
    history = record_training(probe, X, names[Y], X_TEST, names[Y_TEST], max_epochs=3)
    by_hand = LinearProbe(lr=0.01, random_state=0)
    for number, row in enumerate(history, 1):
        by_hand.partial_fit(X, names[Y])
        assert row["epoch"] == number
        for part, rows, labels in (("train", X, names[Y]), ("test", X_TEST, names[Y_TEST])):
            assert row[f"{part}_loss"] == pytest.approx(log_loss(labels, by_hand.predict_proba(rows)))
            assert row[f"{part}_accuracy"] == accuracy_score(labels, by_hand.predict(rows))


def test_estimator_is_not_changed():
    probe = LinearProbe(max_epochs=1, random_state=0).fit(X, Y)
    before = probe.predict_proba(X)
    assert len(record_training(probe, X, Y, X_TEST, Y_TEST)) == 1  # its own max_epochs
    assert probe.n_iter_ == 1
    assert (probe.predict_proba(X) == before).all()


def test_scikit_learn_classifiers_are_accepted():
    history = record_training(
        SGDClassifier(loss="log_loss", random_state=0), X, NAMES[Y], X_TEST, NAMES[Y_TEST], max_epochs=2
    )
    assert [row["epoch"] for row in history] == [1, 2]


def test_test_data_may_lack_classes():
    history = record_training(
        LinearProbe(random_state=0), X, Y, X_TEST[Y_TEST == 1], Y_TEST[Y_TEST == 1], max_epochs=1
    )
    assert np.isfinite(history[0]["test_loss"])


@pytest.mark.parametrize(
    ("error", "message", "changes"),
    [
        (TypeError, "LogisticRegression has no partial_fit", {"estimator": LogisticRegression()}),
        (TypeError, "Pipeline has no partial_fit", {"estimator": make_pipeline(LinearProbe())}),
        (TypeError, "SGDClassifier has no predict_proba", {"estimator": SGDClassifier(loss="hinge")}),
        (TypeError, "SGDClassifier has no max_epochs", {"estimator": SGDClassifier(loss="log_loss")}),
        (ValueError, "max_epochs.* Got 0", {"max_epochs": 0}),
        (TypeError, "max_epochs.* Got 1.5", {"max_epochs": 1.5}),
        (ValueError, "LinearProbe has max_epochs=0", {"estimator": LinearProbe(max_epochs=0)}),
        (ValueError, r"y_test holds classes \[7\] that y lacks, \[0, 1, 2\]", {"y_test": np.full(len(Y_TEST), 7)}),
        (ValueError, "inconsistent numbers of samples", {"y": Y[:-1]}),
        (ValueError, "inconsistent numbers of samples", {"X_test": X_TEST[:-1]}),
        (ValueError, "y_test holds no class", {"y_test": np.full(len(Y_TEST), np.nan)}),
    ],
)
def test_invalid_estimators_and_data_are_refused(error, message, changes):
    given = {"estimator": LinearProbe(), "X": X, "y": Y, "X_test": X_TEST, "y_test": Y_TEST}
    with pytest.raises(error, match=message):
        record_training(**{**given, **changes})
