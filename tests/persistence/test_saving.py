"""What is saved comes back: results, parameters and fitted attributes, bit for bit; or it is said why not."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn.pipeline
import torch
from corpus import CLIP, rising_tones, small_cpc, small_encoder
from models import (
    CLIPS,
    MODELS,
    ROWS,
    TABLE,
    Y,
    assert_same_results,
    fitted,
    input_of,
    mfcc,
    parameters,
    probe,
    reducer,
)
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EarlyStopping
from torch import nn

from sklearn_cpc import (
    Conv1dEncoder,
    CPCTransformer,
    MFCCTransformer,
    load,
    save,
)
from sklearn_cpc.nn.network import ENCODERS
from sklearn_cpc.persistence.allowed import CLASSES


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def saved(estimator, path):
    """Return what comes back of an estimator."""
    save(estimator, path)
    return load(path)


# What comes back


@pytest.mark.parametrize("name", MODELS)
def test_every_result_is_the_same(name, path):
    assert_same_results(fitted(name), saved(fitted(name), path))


PREDICT = """
import warnings

warnings.simplefilter("error")
import sklearn_cpc

model, clips, out = sys.argv[1:]
numpy.save(out, sklearn_cpc.load(model).predict_proba(numpy.load(clips)))
"""


def test_another_process_computes_the_same_probabilities(run_anew, path, tmp_path):
    pipeline = make_pipeline(small_cpc(), StandardScaler(), LogisticRegression()).fit(CLIPS, Y[: len(CLIPS)])
    save(pipeline, path)
    np.save(tmp_path / "clips.npy", CLIPS)
    ended = run_anew(PREDICT, tmp_path, path, tmp_path / "clips.npy", tmp_path / "out.npy")  # both with one thread
    assert ended.returncode == 0, ended.stderr
    assert_array_equal(np.load(tmp_path / "out.npy"), pipeline.predict_proba(CLIPS))


@pytest.mark.parametrize("name", [name for name in MODELS if "pipeline" not in name])
def test_every_parameter_and_attribute_is_the_same(name, path):
    before, after = fitted(name), saved(fitted(name), path)
    assert repr(parameters(after)) == repr({key: plain(value) for key, value in parameters(before).items()})
    learned = {key for key, value in vars(before).items() if value is not None} - {"_optimizer_state"}
    assert learned <= vars(after).keys()
    for key in ("history_", "n_iter_", "sample_rate_", "n_features_in_", "_sklearn_output_config"):
        assert getattr(after, key, None) == getattr(before, key, None)
        assert type(getattr(after, key, None)) is type(getattr(before, key, None))
    for key in ("classes_", "feature_names_in_", "mean_", "coef_", "n_samples_seen_"):
        if hasattr(before, key):
            assert_array_equal(getattr(after, key), getattr(before, key), strict=True)


def plain(value):
    return value.item() if isinstance(value, np.generic) else value


def is_global_generator(value):
    return value is np.random.mtrand._rand


def test_a_pipeline_keeps_its_steps_by_name(path):
    pipeline = saved(fitted("pipeline"), path)
    assert type(pipeline) is Pipeline
    assert list(pipeline.named_steps) == ["cpc", "ae", "clf"]
    assert_same_results(pipeline["cpc"], fitted("pipeline")["cpc"])
    assert pipeline["cpc"].history_ == fitted("pipeline")["cpc"].history_


def test_the_method_writes_what_the_function_does(path, tmp_path):
    fitted("mfcc").save(str(path))
    save(fitted("mfcc"), tmp_path / "other")
    assert path.read_bytes() == (tmp_path / "other").read_bytes()
    assert all(hasattr(fitted(name), "save") for name in ("small-corpus", "reducer", "probe of bool"))


def test_the_same_estimator_makes_the_same_file(path):
    names = "pipeline", "all options"
    for name in names:
        save(fitted(name), path)
        once = path.read_bytes()
        saved(load(path), path)
        assert path.read_bytes() == once


def test_a_file_is_no_larger_than_its_weights(path):
    cpc = CPCTransformer(Conv1dEncoder(n_filters=64), max_epochs=0, clip_duration=1.0, n_context=6, n_future=1)
    save(cpc.fit(np.ones((2, 4410), np.float32)), path)
    weights = sum(tensor.nbytes for tensor in cpc.network_.state_dict().values())
    assert weights < path.stat().st_size < 1.02 * weights


def test_other_readers_of_safetensors_find_the_weights(path):
    from safetensors import safe_open

    save(fitted("small-corpus"), path)
    with safe_open(path, "np") as file:
        stored = {name.removeprefix("fitted/network_/"): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, weights in fitted("small-corpus").network_.state_dict().items():
        assert_array_equal(stored[name], weights.numpy())


def test_tuples_lists_and_numpy_numbers_come_back_as_such(path):
    options = saved(fitted("all options"), path)
    assert options.pooling == ("z_thirds", "c_mean")
    assert options.encoder.strides == [2, 1]
    assert type(options.lr) is float
    assert type(options.random_state) is int
    assert saved(fitted("reducer of float32"), path).get_params()["decoder_units"] == ()
    assert saved(fitted("probe of int"), path).class_weight == {-1: 1.0, 7: 2, 9: 0.5}


def test_numpy_numbers_in_tuples_come_back_as_numbers(path):
    cpc = small_cpc(encoder=small_encoder(kernel_sizes=tuple(np.array([8, 4]))), pooling=(np.str_("z_max"),)).fit(
        CLIPS
    )
    loaded = saved(cpc, path)
    assert repr(loaded.encoder.kernel_sizes) == "(8, 4)"
    assert repr(loaded.pooling) == "('z_max',)"
    assert_same_results(loaded, cpc)


SCIKIT_LEARN = {
    "infinity": LogisticRegression(C=np.inf),
    "numbers of NumPy": LogisticRegression(C=np.float32(0.5), max_iter=np.int64(50), tol=np.float64(1e-3)),
    "a bool of NumPy": LogisticRegression(fit_intercept=np.bool_(False)),
    "weights by class": LogisticRegression(class_weight={np.int64(0): 1.0, 1: np.float32(2), 2: 3}),
    "a share": LogisticRegression(l1_ratio=np.float64(0.3), solver="saga", tol=1.0, random_state=0),
    "a generator": LogisticRegression(random_state=np.random.RandomState(0)),
    "a scaler": make_pipeline(StandardScaler(with_mean=np.bool_(False), copy=False), LogisticRegression()),
    "a step of nothing": Pipeline([("no", None), (np.str_("yes"), LogisticRegression(C=np.inf))]),
}


@pytest.mark.parametrize("case", SCIKIT_LEARN)
def test_parameters_of_scikit_learn_may_have_any_type_that_it_takes(case, path):
    estimator = clone(SCIKIT_LEARN[case]).fit(ROWS, Y)
    loaded = saved(estimator, path)
    assert_array_equal(loaded.predict_proba(ROWS.copy()), estimator.predict_proba(ROWS.copy()))
    for name, value in parameters(estimator).items():
        if not isinstance(value, (list, np.random.RandomState)):
            assert parameters(loaded)[name] == value


def test_the_output_of_a_pipeline_is_still_a_table(path):
    pipeline = make_pipeline(StandardScaler(), reducer()).set_output(transform="pandas").fit(TABLE)
    loaded = saved(pipeline, path)
    pd.testing.assert_frame_equal(loaded.transform(TABLE), pipeline.transform(TABLE), check_exact=True)
    assert loaded.feature_names_in_.tolist() == list("abcdef")


def test_a_device_comes_back_and_memory_does_not(path, tmp_path):
    cpc = small_cpc(device=torch.device("cpu"), memory=str(tmp_path / "cache")).fit(CLIPS)
    loaded = saved(Pipeline([("cpc", cpc)], memory=str(tmp_path / "steps")), path)
    assert str(loaded["cpc"].device) == "cpu"
    assert loaded["cpc"].memory is None
    assert loaded.memory is None
    assert b"cache" not in path.read_bytes()


@pytest.mark.parametrize("values", [[float("nan"), 0.5], [float("inf"), -0.0], [None, "text"], [True, 2**62]])
def test_a_history_may_hold_all_that_is_plain(values, path):
    cpc = small_cpc().fit(CLIPS)
    cpc.history_[0].update(valid_score=values[0], other=np.float32(0.1), more=(values[1], [1]))
    row = saved(cpc, path).history_[0]
    assert repr(row["valid_score"]) == repr(values[0])
    assert repr(row["more"]) == repr((values[1], [1]))
    assert row["other"] == np.float32(0.1)


@pytest.mark.parametrize(
    "labels",
    [["b", "a"], ["", "a" * 300], [False, True], [2**63 + 1, 2**63], [-5, 5], ["\ud800", "ä"]],
    ids=["text", "long", "bool", "uint64", "int", "surrogate"],
)
def test_labels_keep_their_type(labels, path):
    y = np.array(labels)[Y % 2]
    classifier = probe().fit(ROWS, y)
    assert_array_equal(saved(classifier, path).classes_, np.unique(y), strict=True)
    assert saved(classifier, path).predict(ROWS).dtype == y.dtype


@pytest.mark.parametrize("dtype", [np.int8, ">i4", np.uint16, np.float16, ">f8"])
def test_labels_of_any_width_keep_theirs(dtype, path):
    classifier = probe().fit(ROWS, Y.astype(dtype))
    assert saved(classifier, path).classes_.dtype == np.dtype(dtype).newbyteorder("=")


# What can be done with it


@pytest.mark.parametrize("name", ["small-corpus", "all options", "reducer", "probe of text"])
def test_training_goes_on_as_after_joblib(name, path, tmp_path):
    save(fitted(name), path)
    joblib.dump(fitted(name), tmp_path / "model.joblib")
    y = {"y": np.array(["dog", "a cat", "ö"])[Y]} if name == "probe of text" else {}
    one, other = (
        estimator.partial_fit(input_of(estimator), **y)
        for estimator in (load(path), joblib.load(tmp_path / "model.joblib"))
    )
    without_time = [[{**row, "dur": 0} for row in e.history_] for e in (one, other)]
    assert without_time[0] == without_time[1]
    assert one.n_iter_ == fitted(name).n_iter_ + 1
    assert_same_results(one, other)


@pytest.mark.parametrize("name", ["small-corpus", "all options", "reducer", "mfcc", "pipeline"])
def test_a_clone_of_it_fits_to_the_same(name, path):
    copy = clone(saved(fitted(name), path))
    with pytest.raises(NotFittedError):
        copy.transform(CLIPS) if name != "pipeline" else copy.predict(CLIPS)
    X = input_of(fitted(name))
    fit = copy.fit(X, Y[:12] > 0) if name == "pipeline" else copy.fit(X)
    assert_same_results(fit, fitted(name))


def test_it_can_be_pickled_saved_and_fitted_again(path):
    loaded = saved(fitted("small-corpus"), path)
    assert_same_results(pickle.loads(pickle.dumps(loaded)), fitted("small-corpus"))
    assert_same_results(saved(loaded, path), fitted("small-corpus"))
    assert loaded.fit(rising_tones(4, seed=1)).n_iter_ == 1


def test_random_numbers_of_the_process_are_left_alone(path):
    save(fitted("all options"), path)
    generator = np.random.mtrand._rand
    before = torch.get_rng_state(), generator.get_state()[1]
    load(path)
    save(fitted("all options"), path)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert_array_equal(generator.get_state()[1], before[1])


def test_a_default_device_of_torch_does_not_matter(path):
    with torch.device("meta"):
        loaded = saved(fitted("all options"), path)
    assert_same_results(loaded, fitted("all options"))


# What cannot be saved


class Window(nn.Module):
    """An encoder of one's own."""

    sample_rate = 1000

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(CLIP // 8, 4)

    def forward(self, samples):
        return self.linear(samples.reshape(len(samples), 8, -1))


class Mine(MFCCTransformer):
    """A subclass, which may do anything."""


class Recipe(Conv1dEncoder):
    """A recipe of one's own."""


def with_attribute():
    estimator = mfcc().fit(CLIPS)
    estimator.note = "mine"
    return estimator


NOT_STORABLE = {
    "a module": (lambda: small_cpc(encoder=Window()).fit(CLIPS), r"(?s)parameters/encoder .*type Window"),
    "a function": (lambda: small_cpc(autoregressor=lambda z, _: nn.Linear(z, 3)).fit(CLIPS), "autoregressor"),
    "a recipe of one's own": (
        lambda: small_cpc(encoder=Recipe(8, (8,), (4,), 8, 8, 1000)).fit(CLIPS),
        "class Recipe",
    ),
    "callbacks": (
        lambda: small_cpc(callbacks=[EarlyStopping("train_loss")]).fit(CLIPS),
        r"callbacks .*set_params\(callbacks=None\)",
    ),
    "a generator of another kind": (
        lambda: (
            probe(random_state=np.random.RandomState(np.random.PCG64(0))).fit(ROWS, Y).set_params(random_state=0)
        ),
        r"_random: a generator of type PCG64",
    ),
    "a huge number": (lambda: mfcc(verbose=2**70).fit(CLIPS), "verbose is 1180591620717411303424"),
    "a subclass": (lambda: Mine(n_mels=20).fit(np.zeros((1, 22050))), "class Mine"),
    "another estimator": (lambda: PCA(2).fit(ROWS), "class PCA"),
    "a pipeline of others": (lambda: make_pipeline(StandardScaler(), PCA(2)).fit(ROWS), "class PCA"),
    "a search": (
        lambda: GridSearchCV(mfcc(), {"n_mfcc": [3]}, cv=2, scoring=lambda *_: 0).fit(CLIPS),
        "class GridSearchCV .*best_estimator_",
    ),
    "no estimator": (lambda: {3}, "type set"),
    "labels of another kind": (
        lambda: probe().fit(ROWS, Y.astype("longdouble")),
        "longdouble|float128|float96|float64",
    ),
    "an attribute of one's own": (with_attribute, r"\['note'\]"),
}


@pytest.mark.parametrize("case", NOT_STORABLE)
def test_what_is_code_or_unknown_is_named_and_nothing_is_written(case, path):
    make, message = NOT_STORABLE[case]
    with pytest.raises(TypeError, match=message):
        save(make(), path)
    assert not path.exists()


CHANGED = {
    "the length of clips": ("report-conv1d-gru", {"clip_duration": 0.5}, "by the parameters it must be"),
    "the rate of the filters": (
        "small-corpus",
        {"encoder__sample_rate": 900},
        "sample_rate is 1000 and|n_samples is 400 and",
    ),
    "their smoothing": ("small-corpus", {"encoder__band_smoothing": 3}, "spectrogram.mel"),
    "the kind of layer": ("small-corpus", {"encoder__centring": None}, "scale is a BandCentring"),
    "a setting of a layer": ("small-corpus", {"encoder__dynamic_range": 30.0}, r"dynamic_range is 50\.0"),
    "the steps": ("small-corpus", {"n_context": 5}, "hop_length|n_context"),
    "the width": ("reducer", {"n_components": 2}, "by the parameters it must be"),
    "a parameter out of range": ("reducer", {"batch_size": 0}, "batch_size"),
    "an infinite number": ("reducer", {"lr": float("inf")}, "'lr' parameter"),
    "thousands of layers": ("reducer", {"encoder_units": (1,) * 1001}, "'encoder_units' parameter"),
    "an unknown name": ("report-conv1d-gru", {"autoregressor": "rnn"}, "autoregressor='rnn'"),
    "a pooling that cannot be": ("report-conv1d-attention", {"pooling": "c_mean"}, "pooling"),
    "a prediction that cannot be": ("report-conv1d-attention", {"objective__predict_from": "all"}, "predict_from"),
}


@pytest.mark.parametrize("case", CHANGED)
def test_parameters_that_no_longer_describe_the_network_are_noticed(case, path):
    name, change, message = CHANGED[case]
    estimator = pickle.loads(pickle.dumps(fitted(name))).set_params(**change)
    with pytest.raises(ValueError, match=message):
        save(estimator, path)
    assert not path.exists()


def test_parameters_that_decide_later_calls_alone_may_be_changed(path):
    cpc = pickle.loads(pickle.dumps(fitted("small-corpus")))
    cpc.set_params(
        pooling="z_max", lr=0.5, batch_size=7, verbose=1, on_error="nan", objective__similarity="dot", n_clips=1
    )
    assert_same_results(saved(cpc, path), cpc)


@pytest.mark.parametrize("estimator", [small_cpc(), reducer(), probe(), mfcc(), make_pipeline(mfcc(), probe())])
def test_what_is_not_fitted_is_not_saved(estimator, path):
    with pytest.raises(NotFittedError):
        save(estimator, path)
    assert not path.exists()


def test_a_weight_that_is_not_finite_is_not_saved(path):
    cpc = small_cpc().fit(CLIPS)
    with torch.no_grad():
        cpc.network_.predictor.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"predictor\.weight holds NaN"):
        save(cpc, path)


# The lists of what can be stored


def test_every_class_that_may_be_loaded_is_among_the_models():
    models = [fitted(name) for name in MODELS]
    kinds = {type(model).__name__ for model in models}
    recipes = {type(part).__name__ for model in models for part in model.get_params().values()}
    names = {ENCODERS.get(getattr(model, "encoder", None), str).__name__ for model in models}
    assert CLASSES.keys() - {"LSTMContext", "CausalAttentionContext"} <= recipes | names | kinds


def test_classes_of_the_same_name_elsewhere_have_no_form():
    class Pipeline(sklearn.pipeline.Pipeline):
        pass

    with pytest.raises(TypeError, match="class Pipeline cannot"):
        save(Pipeline([("mfcc", fitted("mfcc"))]), "nowhere")


def test_arrays_in_a_history_and_generators_are_stored(path):
    cpc = small_cpc(random_state=np.random.RandomState(3)).fit(CLIPS)
    cpc.history_[0]["embeddings"] = np.arange(3.0)
    loaded = saved(cpc, path)
    assert_array_equal(loaded.history_[0]["embeddings"], np.arange(3.0), strict=True)
    assert_array_equal(loaded.random_state.get_state()[1], cpc.random_state.get_state()[1])


def test_weights_in_half_precision_are_refused(path):
    cpc = small_cpc().fit(CLIPS)
    cpc.network_.half()
    with pytest.raises(ValueError, match=r"float16.* but by the parameters it must be .*float32"):
        save(cpc, path)
