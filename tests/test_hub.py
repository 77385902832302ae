"""Models on the Hugging Face Hub, for which a local server stands in."""

import sys

import huggingface_hub
import numpy as np
import pytest
from corpus import rising_tones, small_cpc
from hub_server import serve_hub, use_server
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from sklearn_cpc import LinearProbe, MFCCTransformer, hub

TONES, CLASSES = rising_tones(12), np.arange(12) % 2
FIRST, SECOND = f"{1:040x}", f"{2:040x}"


@pytest.fixture(scope="module")
def pipeline():
    cpc = small_cpc(max_epochs=3, validation_fraction=0.25)
    return make_pipeline(cpc, LinearProbe(max_epochs=2, random_state=0)).fit(TONES, CLASSES)


@pytest.fixture
def server(tmp_path, monkeypatch):
    with serve_hub() as server:
        use_server(monkeypatch, server, tmp_path)
        yield server


def test_a_pushed_pipeline_comes_back_the_same(pipeline, server):
    address = hub.push_to_hub(pipeline, "someone/owls", private=True)
    assert address == f"{server.url}/someone/owls/commit/{FIRST}"
    assert server.visibility == {"someone/owls": "private"}
    assert sorted(server.commits["someone/owls"][0]) == ["README.md", "model.safetensors"]
    loaded = hub.load_from_hub("someone/owls")
    assert_array_equal(loaded.predict_proba(TONES), pipeline.predict_proba(TONES))
    assert loaded[0].history_ == pipeline[0].history_


def test_revisions_give_the_models_of_their_commits(pipeline, server):
    hub.push_to_hub(pipeline, "someone/owls")
    hub.push_to_hub(MFCCTransformer(13).fit(np.zeros((1, 22050))), "someone/owls")
    assert isinstance(hub.load_from_hub("someone/owls"), MFCCTransformer)
    assert isinstance(hub.load_from_hub("someone/owls", revision=SECOND), MFCCTransformer)
    assert hub.load_from_hub("someone/owls", revision=FIRST).classes_.tolist() == [0, 1]


def test_the_card_states_what_is_known_and_no_more(pipeline, server):
    hub.push_to_hub(pipeline, "someone/owls", notes="Twelve rising tones, CC0.")
    card = server.commits["someone/owls"][0]["README.md"].decode()
    data = huggingface_hub.ModelCard(card).data.to_dict()
    assert data == {"library_name": "sklearn_cpc", "tags": ["audio", "feature-extraction"]}
    n_weights = sum(weights.numel() for weights in pipeline[0].network_.parameters())
    trained = (
        f"- CPCTransformer: {n_weights} weights, 3 epochs, the last on 9 recordings or clips with 4 s of sound"
    )
    for expected in (
        "# someone/owls",
        "Twelve rising tones, CC0.",
        trained,
        "- LinearProbe: 18 weights, 2 epochs\n",
    ):
        assert expected in card
    assert 'load_from_hub("someone/owls")' in card
    assert "clip_duration=0.4" in card
    assert "accura" not in card.lower()


def test_models_without_a_training_have_a_card_too(server):
    hub.push_to_hub(small_cpc(max_epochs=0).fit(TONES), "someone/untrained")
    hub.push_to_hub(MFCCTransformer(13).fit(np.zeros((1, 22050))), "someone/mfcc")
    assert "weights, 0 epochs\n" in server.commits["someone/untrained"][0]["README.md"].decode()
    assert "weights" not in server.commits["someone/mfcc"][0]["README.md"].decode()


class Mine(LinearProbe):
    """A class that files do not hold."""


def test_what_cannot_be_saved_is_not_uploaded(server):
    with pytest.raises(NotFittedError):
        hub.push_to_hub(small_cpc(), "someone/owls")
    with pytest.raises(TypeError, match="class Mine cannot be saved"):
        hub.push_to_hub(Mine(max_epochs=1).fit(TONES, CLASSES), "someone/owls")
    assert server.requests == []


def test_files_that_are_no_models_are_refused(pipeline, server):
    hub.push_to_hub(pipeline, "someone/owls")
    for content, message in ((b"cos\nsystem\n", "no file of sklearn_cpc"), (None, "checksum is wrong")):
        good = server.commits["someone/owls"][0]["model.safetensors"]
        server.commits["someone/owls"].append({"model.safetensors": content or good[:-1] + bytes([good[-1] ^ 1])})
        with pytest.raises(ValueError, match=message):
            hub.load_from_hub("someone/owls")


def test_a_repository_without_a_model_is_named(server):
    server.commits["someone/empty"] = [{"README.md": b""}]
    with pytest.raises(huggingface_hub.errors.EntryNotFoundError, match=r"someone/empty"):
        hub.load_from_hub("someone/empty")


def test_without_the_client_the_error_names_the_extra(monkeypatch, pipeline):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (lambda: hub.load_from_hub("someone/owls"), lambda: hub.push_to_hub(pipeline, "someone/owls")):
        with pytest.raises(ImportError, match=r"needs huggingface_hub; .*'sklearn-cpc\[hub\]'"):
            call()
