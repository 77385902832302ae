"""Groups of recordings: never on both sides of the validation split, with and without metadata routing."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from corpus import rising_tones, small_cpc
from numpy.testing import assert_array_equal
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback

from sklearn_cpc import Clip, LinearProbe, load

TONES = rising_tones(24)
GROUPS = np.arange(24) % 8
NAMES = np.array([f"site {i}" for i in range(8)])[GROUPS]


class Heard(Callback):
    """Adds the indices of the tones that a training hears to a list of all trainings."""

    trainings: list = []

    def on_train_begin(self, net, **_):
        Heard.trainings.append(set())

    def on_batch_begin(self, net, batch=None, **_):
        rows = {clip.tobytes(): i for i, clip in enumerate(TONES)}
        Heard.trainings[-1] |= {rows[clip.tobytes()] for clip in batch[0]["clips"].numpy()}


@pytest.fixture(autouse=True)
def no_trainings():
    Heard.trainings.clear()


def grouped_cpc(**changes):
    return small_cpc(**{"validation_fraction": 0.5, "callbacks": [Heard()], **changes})


def groups_of(rows):
    return set(GROUPS[list(rows)])


@pytest.mark.parametrize("method", ["fit", "fit_transform", "partial_fit"])
@pytest.mark.parametrize("groups", [GROUPS, NAMES, list(NAMES), pd.Series(NAMES, dtype="category")], ids=type)
def test_whole_groups_are_held_out(method, groups):
    getattr(grouped_cpc(), method)(TONES, groups=groups)
    (heard,) = Heard.trainings
    assert len(heard) == 12
    assert len(groups_of(heard)) == 4


def test_without_groups_recordings_of_a_group_come_apart():
    grouped_cpc().fit(TONES)
    assert len(groups_of(Heard.trainings[0])) > 4  # as 24 recordings draw lots of their own


def test_later_calls_hold_out_the_same_groups():
    cpc = grouped_cpc(warm_start=True).fit(TONES, groups=NAMES)
    cpc.partial_fit(TONES[::-1], groups=NAMES[::-1]).fit(TONES[:20], groups=NAMES[:20])
    first, second, third = Heard.trainings
    assert first == second
    assert third == first - set(range(20, 24))


@pytest.mark.parametrize("before", [GROUPS, None], ids=["with groups", "without groups"])
def test_calls_with_and_without_groups_do_not_mix(before):
    cpc = grouped_cpc().fit(TONES, groups=before)
    with pytest.raises(ValueError, match="give groups to both calls, or to none"):
        cpc.partial_fit(TONES, groups=GROUPS if before is None else None)


def test_a_loaded_model_holds_out_the_same_groups(tmp_path):
    cpc = grouped_cpc().fit(TONES, groups=NAMES)
    cpc.set_params(callbacks=None).save(tmp_path / "cpc.safetensors")
    loaded = load(tmp_path / "cpc.safetensors").set_params(callbacks=[Heard()])
    loaded.partial_fit(TONES, groups=NAMES)
    assert Heard.trainings[0] == Heard.trainings[1]
    with pytest.raises(ValueError, match=r"the first fit held out group\(s\)"):
        loaded.partial_fit(TONES)


def test_other_groups_are_another_training_in_the_checkpoints(tmp_path):
    options = {"checkpoint": tmp_path, "callbacks": None, "max_epochs": 2}
    grouped_cpc(**options).fit(TONES, groups=GROUPS)
    resumed = grouped_cpc(**options).fit(TONES, groups=np.arange(24) // 3)
    afresh = grouped_cpc(**{**options, "checkpoint": None}).fit(TONES, groups=np.arange(24) // 3)
    assert_array_equal(resumed.transform(TONES), afresh.transform(TONES))
    assert len(list(tmp_path.iterdir())) == 2


def test_groups_follow_the_recordings_that_can_be_read(corpus, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    paths = [str(broken), *corpus.paths]
    groups = ["none", *corpus.groups.astype(str)]
    cpc = small_cpc(on_error="nan", validation_fraction=0.3)
    with pytest.warns(UserWarning, match=r"broken\.wav"):
        one = cpc.fit(paths, groups=groups).transform(corpus.paths)
    assert_array_equal(
        one, small_cpc(validation_fraction=0.3).fit(corpus.paths, groups=groups[1:]).transform(corpus.paths)
    )


# What cannot be used


def test_groups_that_tear_a_recording_apart_are_refused(corpus):
    clips = [Clip(path, onset, 0.4) for path in corpus.paths for onset in (0.0, 0.5)]
    groups = np.repeat(corpus.groups, 2)
    small_cpc(validation_fraction=0.3).fit(clips, groups=groups)
    groups[7] += 1
    with pytest.raises(
        ValueError, match=r"several for clips of one recording, '.*low-03\.wav'; give it one group"
    ):
        small_cpc(validation_fraction=0.3).fit(clips, groups=groups)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (GROUPS[:-1], "inconsistent numbers of samples"),
        (np.where(GROUPS, GROUPS, np.nan), "groups contains NaN"),
        (TONES, "1d array"),
        (np.zeros(24), r"leaves nothing to train on of n_samples=1 group\(s\)"),
    ],
)
def test_groups_that_cannot_be_used_are_refused(groups, message):
    cpc = grouped_cpc()
    with pytest.raises(ValueError, match=message):
        cpc.fit(TONES, groups=groups)
    assert not hasattr(cpc, "network_")


# Metadata routing


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routing")
def test_pipelines_and_grids_pass_groups_to_who_asks_for_them():
    pipeline = make_pipeline(grouped_cpc().set_fit_request(groups=True), LinearProbe(max_epochs=1))
    y = np.arange(24) // 8 % 2
    pipeline.fit(TONES, y, groups=NAMES)
    search = GridSearchCV(pipeline, {"linearprobe__lr": [0.01, 0.1]}, cv=GroupKFold(2), error_score="raise")
    search.fit(TONES, y, groups=NAMES)
    whole, *folds, refit = Heard.trainings
    assert len(groups_of(whole)) == len(groups_of(refit)) == 4
    assert [len(groups_of(heard)) for heard in folds] == [2] * 4  # half of the four groups of a fold
    assert all(len(heard) == 6 for heard in folds)


@pytest.mark.usefixtures("routing")
def test_groups_that_nobody_asked_for_are_refused():
    with pytest.raises(TypeError, match=r"unexpected argument.*groups"):
        make_pipeline(grouped_cpc(), LinearProbe()).fit(TONES, np.arange(24) % 2, groups=NAMES)


@pytest.mark.usefixtures("routing")
def test_models_that_ask_for_groups_can_be_saved(tmp_path):
    cpc = grouped_cpc(callbacks=None).set_fit_request(groups=True).fit(TONES, groups=NAMES)
    cpc.save(tmp_path / "cpc.safetensors")
    assert_array_equal(load(tmp_path / "cpc.safetensors").transform(TONES), cpc.transform(TONES))
