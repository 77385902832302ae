"""Files of earlier releases load for ever: some of every format are kept, with what their estimators computed.

    PYTHONPATH=tests python tests/persistence/test_formats.py tests/data/format-2

writes those of a new format. Files of a format that has been released are never written again.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from models import fitted
from numpy.testing import assert_allclose

from sklearn_cpc import load, save

DATA = Path(__file__).parents[1] / "data"
NAMES = [
    "small-corpus",
    "report-conv1d-attention",
    "report-conv2d-gru",
    "all options",
    "reducer",
    "probe of text",
    "mfcc",
    "scaler",
    "logistic regression",
    "pipeline",
]


def wave(estimator):
    """Return five rows of as many samples or features as the estimator takes, the same on every machine."""
    time = np.arange(5 * estimator.n_features_in_).reshape(5, -1)
    return 0.5 * np.sin(0.0004 * time**2) + 0.1


def results(estimator):
    X = wave(estimator)
    if hasattr(estimator, "predict_proba"):
        return {"proba": estimator.predict_proba(X).tolist(), "labels": estimator.predict(X).tolist()}
    return {"features": np.asarray(estimator.transform(X)).tolist()}


def record(folder):
    folder.mkdir()
    for name in NAMES:
        file = folder / f"{name.replace(' ', '-')}.safetensors"
        save(fitted(name), file)
        file.with_suffix(".json").write_text(json.dumps(results(fitted(name))))


FILES = sorted(DATA.glob("format-*/*.safetensors"))


@pytest.mark.filterwarnings("ignore:X has feature names|X does not have valid feature names")
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_files_of_every_format_load_and_compute_what_they_did(path):
    recorded = json.loads(path.with_suffix(".json").read_text())
    now = results(load(path))
    assert now.keys() == recorded.keys()
    assert now.pop("labels", None) == recorded.pop("labels", None)
    for key, values in recorded.items():
        assert_allclose(now[key], values, rtol=1e-3, atol=1e-4)


def test_files_are_kept_of_every_estimator():
    kept = {path.stem for path in FILES if path.parent.name == "format-1"}
    assert kept == {name.replace(" ", "-") for name in NAMES}


if __name__ == "__main__":
    record(Path(sys.argv[1]))
