"""The recipe for torch.compile in docs/gpu.md keeps weights and names, and networks can be copied and saved."""

import copy
import pickle
import re
from pathlib import Path

import pytest
import torch
from corpus import RATE, rising_tones, small_cpc
from numpy.testing import assert_array_equal
from sklearn.base import clone
from skorch.callbacks import Callback

from sklearn_cpc import LogMelEncoder, load
from sklearn_cpc.training.checkpoint import CheckpointWriter

PAGE = Path(__file__).parents[2] / "docs" / "gpu.md"
TONES = rising_tones(12)
SMALL = LogMelEncoder(n_mels=4, n_filters=8, z_dim=8, sample_rate=RATE, window_duration=0.032, strides=(1, 1, 1))
names = {"__name__": __name__}  # of the module in which pickle looks for the class
exec(re.search(r"^```python\n(.*?class .*?)\n\n\n", PAGE.read_text(), re.MULTILINE | re.DOTALL)[1], names)
Compile = names["Compile"]
graphs: list = []


def collect(graph, inputs):
    """Compile nothing, but remember what should be compiled."""
    graphs.append(graph)
    return graph.forward


def forget():
    """Let torch compile anew what it has compiled in other tests."""
    torch.compiler.reset()
    graphs.clear()


class Idle(Callback):
    """A training with a callback draws other random numbers than one without."""


def make(*callbacks, **options):
    return small_cpc(**{"encoder": clone(SMALL), "max_epochs": 2, "callbacks": list(callbacks), **options})


@pytest.fixture(scope="module")
def fitted():
    forget()
    return make(Compile(collect)).fit(TONES)


@pytest.fixture(scope="module")
def features():
    """Return those of a network that was not compiled."""
    return make(Idle()).fit(TONES).transform(TONES)


def test_a_compiled_training_has_the_same_weights_and_names(fitted, features):
    assert graphs != []
    assert list(fitted.network_.state_dict()) == list(small_cpc(encoder=SMALL).fit(TONES).network_.state_dict())
    assert_array_equal(fitted.transform(TONES), features)


def test_a_fitted_network_is_compiled_for_transform(features):
    cpc = make(Idle()).fit(TONES)
    forget()
    cpc.network_.encoder.compile(backend=collect)
    assert_array_equal(cpc.transform(TONES), features)
    assert graphs != []


@pytest.mark.parametrize(
    "how", [copy.deepcopy, lambda cpc: pickle.loads(pickle.dumps(cpc))], ids=["copy", "pickle"]
)
def test_copies_of_a_compiled_network_embed_as_it_does(how, fitted, features):
    assert_array_equal(how(fitted).transform(TONES), features)


def test_a_clone_learns_the_same(fitted, features):
    assert_array_equal(clone(fitted).fit(TONES).transform(TONES), features)


def test_a_compiled_network_is_saved_without_its_callbacks(fitted, features, tmp_path):
    copy.deepcopy(fitted).set_params(callbacks=None).save(tmp_path / "model.safetensors")
    assert_array_equal(load(tmp_path / "model.safetensors").transform(TONES), features)


def test_a_compiled_training_resumes_from_its_checkpoint(fitted, tmp_path, monkeypatch):
    cpc, write = make(Compile(collect), checkpoint=tmp_path), CheckpointWriter.on_epoch_end
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointWriter, "on_epoch_end", lambda self, net, **how: write(self, net) or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            clone(cpc).fit(TONES)
    resumed = clone(cpc).fit(TONES)
    assert [row["train_loss"] for row in resumed.history_] == [row["train_loss"] for row in fitted.history_]
    assert_array_equal(resumed.transform(TONES), fitted.transform(TONES))
