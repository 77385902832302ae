"""Distributed training: several processes learn what one does, and an error in one stops all, soon and clearly."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import launched
import numpy as np
import pytest
from corpus import rising_tones, small_cpc, write_samples
from sklearn.model_selection import GridSearchCV

from sklearn_cpc import load
from sklearn_cpc.training.checkpoint import FILE, CheckpointWriter, describe

ROOT = Path(__file__).parents[2]
CLOSE = {"rtol": 0, "atol": 1e-5}
OF_FIRST_PROCESS = {"train_effective_rank", "train_relative_std"}  # EmbeddingMonitor sees its clips alone
LIMIT = 240  # seconds; a launch takes 5 to 10 on a quiet machine


def start(folder, n_processes, *parts):
    """Launch processes that run parts of launched.py."""
    launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={n_processes}"]
    command = [sys.executable, "-W", "error", "-m", *launcher, launched.__file__, str(folder), *parts]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    """Wait for the end of a launch; return its exit code and output."""
    try:
        output, _ = process.communicate(timeout=LIMIT)
    except BaseException:
        process.terminate()  # the launcher ends its processes
        process.communicate()
        raise
    return process.returncode, output


def read_results(folder, n_processes):
    return [json.loads((folder / f"results-{n_processes}-{rank}.json").read_text()) for rank in range(n_processes)]


def launch(folder, n_processes, *parts, code=0):
    """Run parts, check the exit code, and return the results of every rank, by part, and the output."""
    ended_with, output = finish(start(folder, n_processes, *parts))
    assert ended_with == code, output
    assert "Warning" not in output
    return read_results(folder, n_processes), output


def read_arrays(path):
    with np.load(path) as arrays:
        return dict(arrays)


def assert_close(first, second, case="", leave_out="nothing"):
    assert first.keys() == second.keys()
    for name, values in first.items():
        if leave_out not in name:
            np.testing.assert_allclose(values, second[name], **CLOSE, err_msg=f"{case} {name}")


def without_times(history):
    return [{key: value for key, value in row.items() if key != "dur"} for row in history]


def is_running(folder, n_processes, rank):
    try:
        os.kill(int((folder / f"pid-{n_processes}-{rank}").read_text()), 0)
    except ProcessLookupError:
        return False
    return True


# The same as one process


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    write_samples(folder, launched.ragged_tones())
    return folder


@pytest.fixture(scope="module")
def alone(folder):
    """Fits of all cases in this process. One was stopped after two epochs, and continued from its checkpoint."""
    paths = sorted(map(str, folder.glob("*.wav")))
    fits = {case: launched.make(case).fit(paths) for case in launched.CASES}
    fits["batch norm"] = small_cpc(batch_size=6, max_epochs=3).fit(paths)
    fits["resumed"] = launched.make("recommended", max_epochs=4).fit(paths)
    stop_after_two_epochs(launched.make("recommended", max_epochs=4, checkpoint=folder / "from-one"), paths)
    return fits


def stop_after_two_epochs(cpc, X):
    """Fit, and stop when the checkpoint of the second epoch is written."""
    write = CheckpointWriter.on_epoch_end

    def write_and_stop(self, net, **options):
        write(self, net, **options)
        if len(net.history) == 2:
            raise OSError("stopped")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CheckpointWriter, "on_epoch_end", write_and_stop)
        with pytest.raises(OSError, match="stopped"):
            cpc.fit(X)


@pytest.fixture(scope="module")
def two(folder, alone):
    """Return what two processes did, rank by rank: one launch, as starting takes most of the time."""
    (file,) = (folder / "from-one").glob(f"*/{FILE}")
    saved = file.read_bytes()
    results, _ = launch(folder, 2, "train_cases", "try_features", "try_errors")
    file.write_bytes(saved)
    return results


@pytest.fixture(scope="module")
def three(folder, two):
    """Return what three processes did, rank by rank, and the launcher's output. At the end, rank 1 was killed."""
    return launch(folder, 3, "train_cases", "go_on", "be_killed", code=1)


@pytest.fixture(scope="module", params=[2, 3], ids=["two processes", "three processes"])
def shared(request, folder):
    """Return the fits of all cases by several processes: for each rank, the results by case, and the weights."""
    results = request.getfixturevalue("two") if request.param == 2 else request.getfixturevalue("three")[0]
    results = [result["train_cases"] for result in results]
    arrays = [
        {case: read_arrays(folder / f"{case}-{request.param}-{rank}.npz") for case in results[0]}
        for rank in range(request.param)
    ]
    return results, arrays


def test_processes_learn_the_weights_of_one(shared, alone):
    _, arrays = shared
    for case in [*launched.CASES, "resumed"]:
        expected = launched.weights(alone[case])
        assert_close(arrays[0][case], expected, case, leave_out=launched.TRAINED_BY_ROUNDING)


def test_history_is_that_of_one_process(shared, alone):
    results, _ = shared
    for case in [*launched.CASES, "resumed"]:
        rows, expected = without_times(results[0][case]["history"]), without_times(alone[case].history_)
        assert len(rows) == len(expected) >= 3
        for row, expected_row in zip(rows, expected, strict=True):
            assert row.keys() == expected_row.keys()
            for key in row.keys() - OF_FIRST_PROCESS:
                assert row[key] == pytest.approx(expected_row[key], abs=1e-5), (case, key)


def test_all_processes_end_with_the_same_fit(shared):
    results, arrays = shared
    for rank in range(1, len(results)):
        assert results[rank] == results[0]
        for case, values in arrays[0].items():
            assert all(np.array_equal(values[name], arrays[rank][case][name]) for name in values), case


def test_batch_normalisation_is_close_to_that_of_one_process(shared, alone):
    losses = [row["train_loss"] for row in shared[0][0]["batch norm"]["history"]]
    assert losses == pytest.approx([row["train_loss"] for row in alone["batch norm"].history_], rel=0.01)


# What surrounds a fit


@pytest.fixture(scope="module")
def features(folder, two):
    return folder, [result["try_features"] for result in two]


def test_first_process_alone_warns_and_shows_progress(features):
    _, (first, second) = features
    assert len(first["talk"]["warnings"]) == 1
    assert first["talk"]["warnings"][0].startswith("5 s of sound is little to learn from")
    assert first["talk"]["bar"]
    assert second["talk"] == {"warnings": [], "bar": False}
    assert first["verbose"] == second["verbose"] == 1


def test_without_a_seed_processes_share_the_first_ones_random_numbers(features):
    folder, _ = features
    first, second = (read_arrays(folder / f"partial-{rank}.npz") for rank in range(2))
    assert all(np.array_equal(values, second[name]) for name, values in first.items())


def test_draws_of_callbacks_do_not_change_the_batches(features):
    first, second = (result["batches"] for result in features[1])
    assert len(first) == 3
    assert first == second


def test_every_process_embeds_for_itself(features):
    folder, _ = features
    first, second = (read_arrays(folder / f"features-{rank}.npz")["arr_0"] for rank in range(2))
    assert first.shape == (12, 8)
    assert np.array_equal(first, second)


def test_a_launched_process_trains_alone_without_the_switch(features):
    folder, _ = features
    for rank in range(2):
        expected = launched.make("recommended", random_state=rank).fit(rising_tones(12))
        assert_close(read_arrays(folder / f"alone-{rank}.npz"), launched.weights(expected))


def test_a_callback_fits_another_estimator_in_its_own_process(features):
    for result in features[1]:
        assert len(set(result["probes"])) == 1


def test_a_grid_search_scores_as_in_one_process(features):
    _, results = features
    search = GridSearchCV(launched.make("recommended"), {"lr": [1e-4, 1e-2]}, cv=2).fit(rising_tones(12))
    for result in results:
        assert result["search"] == pytest.approx(search.cv_results_["mean_test_score"], abs=1e-9)


def test_one_process_takes_up_a_checkpoint_of_two(features):
    folder, _ = features
    cpc = launched.make("recommended", max_epochs=2, checkpoint=folder / "from-two").fit(rising_tones(12))
    whole = launched.make("recommended", max_epochs=2).fit(rising_tones(12))
    assert_close(launched.weights(cpc), launched.weights(whole))
    assert cpc.history_[0]["dur"] != whole.history_[0]["dur"]  # it was read, not trained anew


def test_a_callback_of_scikit_learn_ends_all_processes_alike(features):
    pytest.importorskip("sklearn.callback", reason="needs the callbacks of scikit-learn 1.9")
    folder, results = features
    expected = launched.weights(launched.make(None, max_epochs=2).fit(rising_tones(12)))
    for rank, result in enumerate(results):
        n_told = 0 if rank else 2  # the first process tells the callback
        assert result["ended"] == [2, False, n_told]
        assert result["callbacks stay"] == n_told + 1
        assert_close(read_arrays(folder / f"ended-{rank}.npz"), expected)


# Errors


@pytest.fixture(scope="module")
def errors(two):
    return [result["try_errors"] for result in two]


LOST = "RuntimeError: rank {} lost the others; one of them stopped, and may say why, or hangs"
FAILED = "RuntimeError: rank 0 failed, so all stop. Its error: "
ENDED_ALONE = "RuntimeError: a callback ended the training on some ranks alone; let all decide alike."
OTHERS = "ValueError: rank 1 does not train the same as rank 0, but has other {}; give all processes the same"


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        (
            "file",
            "UnreadableAudioError: 1 of 1 recordings",
            FAILED + "UnreadableAudioError: 1 of",
        ),
        ("order", OTHERS.format("recordings"), OTHERS.format("recordings")),
        ("rate", OTHERS.format("lr"), OTHERS.format("lr")),
        ("checkpoint", OTHERS.format("checkpoint"), OTHERS.format("checkpoint")),
        ("end of first", ENDED_ALONE, ENDED_ALONE),
        ("end of second", ENDED_ALONE, ENDED_ALONE),
        ("loss", "NonFiniteLossError: the loss became nan", "NonFiniteLossError: the loss became nan"),
        ("callback", LOST.format(0), "OSError: the disk is on fire"),
        ("clips", "ValueError: distributed=True on 2 processes", "ValueError: distributed=True on 2 processes"),
        (
            "directory",
            "ValueError: checkpoint=",
            FAILED + "ValueError: checkpoint=",
        ),
    ],
)
def test_an_error_stops_all_processes_with_a_clear_message(name, first, second, errors):
    for result, message in zip(errors, (first, second), strict=True):
        assert result[name]["error"].startswith(message)
        assert result[name]["seconds"] < 60


def test_processes_that_catch_an_error_can_fit_again(three):
    errors = "RuntimeError", "OSError", "RuntimeError"
    assert [result["go_on"] for result in three[0]] == [{"error": error, "n_iter": 3} for error in errors]


def test_a_killed_process_stops_the_others(folder, three):
    results, output = three
    assert "Signal 9 (SIGKILL)" in output
    assert ["be_killed" in result for result in results] == [True, False, True]
    for rank in (0, 2):
        lost = LOST.format(rank).removeprefix("RuntimeError: ")
        assert results[rank]["be_killed"]["error"].startswith(lost)
    assert [is_running(folder, 3, rank) for rank in range(3)] == [False, False, False]


def test_ctrl_c_keeps_the_finished_epochs_and_leaves_no_process(tmp_path):
    process, deadline = start(tmp_path, 2, "be_interrupted"), time.monotonic() + LIMIT
    while len(list(tmp_path.glob("ready-*"))) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 1, output
    results = [result["be_interrupted"] for result in read_results(tmp_path, 2)]
    assert "KeyboardInterrupt" in [result["error"] for result in results]
    assert all(result["left"] == [True, True, True] for result in results)
    assert [is_running(tmp_path, 2, rank) for rank in range(2)] == [False, False]


def test_without_a_launcher_the_error_says_how_to_start(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(ValueError, match=r"python -m torch\.distributed\.run --nproc-per-node 2 script\.py"):
        small_cpc(distributed=True).fit(rising_tones(4))


def test_worker_processes_of_a_search_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("sklearn_cpc._ranks.parent_process", lambda: "a process of joblib")
    with pytest.raises(ValueError, match="n_jobs=None in a grid search"):
        small_cpc(distributed=True).fit(rising_tones(4))


def test_the_switch_changes_neither_a_saved_model_nor_a_description(tmp_path):
    cpc = small_cpc().fit(rising_tones(4))
    before = describe(cpc)
    cpc.set_params(distributed=True).save(tmp_path / "model")
    assert describe(cpc) == before
    loaded = load(tmp_path / "model")
    assert loaded.distributed
    assert np.array_equal(loaded.transform(rising_tones(4)), cpc.transform(rising_tones(4)))
