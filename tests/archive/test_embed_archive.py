"""Embeddings of an archive: those of transform, row by row, whatever stops the work and however it is spread."""

import json
import os
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from corpus import rising_tones, small_cpc, small_encoder, write_samples
from pyarrow import parquet
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_cpc import CPCTransformer, MFCCTransformer, load
from sklearn_cpc.archive import cut_windows, embed_archive, embedding, read_archive


@pytest.fixture(scope="module")
def cpc():
    return small_cpc(max_epochs=0).fit(rising_tones(4))


@pytest.fixture
def windows(tmp_path, monkeypatch):
    """Windows of eight recordings of 0.4 s, in four parts."""
    monkeypatch.setattr(embedding, "PART_SECONDS", 0.8)
    folder = tmp_path / "audio"
    folder.mkdir()
    return cut_windows(write_samples(folder, rising_tones(8)), 0.15)


def read_all(directory):
    """Read a dataset as other tools do: all files of the directory as one table."""
    return parquet.read_table(directory).to_pandas()


def files_in(directory):
    return sorted(path.name for path in Path(directory).iterdir())


# What is written


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_embeddings_are_those_of_transform(cpc, windows, tmp_path, dtype):
    embed_archive(cpc, windows, tmp_path / "data", dtype=dtype)
    assert files_in(tmp_path / "data") == [f"part-00000{i}.parquet" for i in range(4)]
    table = read_all(tmp_path / "data")
    assert list(table.columns) == ["path", "onset", "duration", "embedding", "reason"]
    pd.testing.assert_frame_equal(table[["path", "onset", "duration"]], windows)
    assert table["reason"].isna().all()
    embeddings = np.stack(table["embedding"])
    assert embeddings.dtype == dtype
    assert np.allclose(embeddings, cpc.transform(windows), atol=1e-6 if dtype == "float32" else 1e-3)


def test_dataset_has_arrow_types_that_any_tool_reads(cpc, windows, tmp_path):
    embed_archive(cpc, windows, tmp_path / "data")
    types = {field.name: str(field.type) for field in parquet.read_table(tmp_path / "data").schema}
    assert types == {
        "path": "string",
        "onset": "double",
        "duration": "double",
        "embedding": "fixed_size_list<element: float>[8]",
        "reason": "string",
    }


def test_metadata_describe_the_estimator(cpc, windows, tmp_path):
    embed_archive(cpc, windows, tmp_path / "data")
    metadata = parquet.read_metadata(tmp_path / "data" / "part-000002.parquet").metadata
    found = json.loads(metadata[b"sklearn_cpc"])
    assert found["part"], found["n_parts"] == (2, 4)
    assert len(found["estimator"]) == 64
    assert found["parameters"]["n_context"] == "6"
    assert {"sklearn_cpc", "torch", "numpy"} <= set(found["versions"])


def test_rows_of_a_recording_share_a_part(cpc, windows, tmp_path):
    embed_archive(cpc, windows, tmp_path / "data")
    paths = [set(read_all(file)["path"]) for file in sorted((tmp_path / "data").glob("*.parquet"))]
    assert [len(part) for part in paths] == [2, 2, 2, 2]
    assert len(set.union(*paths)) == 8


def test_whole_recordings_can_be_embedded(cpc, windows, tmp_path):
    paths = list(dict.fromkeys(windows["path"]))
    embed_archive(cpc, paths, tmp_path / "data")
    table = read_all(tmp_path / "data")
    assert table["path"].tolist() == paths
    assert table["duration"].isna().all()
    assert np.allclose(np.stack(table["embedding"]), cpc.transform(paths), atol=1e-6)
    assert read_archive(tmp_path / "data")[0]["path"].tolist() == paths


@pytest.mark.parametrize("steps", [[PCA(3)], [StandardScaler(), make_pipeline(PCA(4), PCA(2))], ["passthrough"]])
def test_pipelines_are_embedded_although_steps_refuse_nan(windows, tmp_path, steps):
    pipe = make_pipeline(small_cpc(max_epochs=0), *steps).fit(windows)
    Path(windows["path"].iloc[0]).unlink()
    with pytest.warns(UserWarning, match="3 rows have no embedding"):
        embed_archive(pipe, windows, tmp_path / "data")
    embeddings = np.stack(read_all(tmp_path / "data")["embedding"])
    assert np.isnan(embeddings[:3]).all()
    assert np.allclose(embeddings[3:], pipe.transform(windows[3:]), atol=1e-5)


# Recordings that cannot be used


@pytest.mark.parametrize("on_error", ["raise", "nan"])
def test_unusable_recordings_are_rows_with_a_reason(windows, tmp_path, on_error):
    cpc = small_cpc(max_epochs=0, on_error=on_error).fit(rising_tones(4))
    paths = list(dict.fromkeys(windows["path"]))
    Path(paths[1]).write_bytes(b"no sound")
    for path in paths[4:6]:  # a whole part
        Path(path).unlink()
    late = pd.DataFrame({"path": paths[7], "onset": [0.1, 5.0], "duration": 0.1})
    windows = pd.concat([windows, late], ignore_index=True)
    with pytest.warns(UserWarning, match="10 rows have no embedding; the column 'reason'"):
        embed_archive(cpc, windows, tmp_path / "data")
    table = read_all(tmp_path / "data")
    pd.testing.assert_frame_equal(table[["path", "onset", "duration"]], windows)
    unusable = windows["path"].isin([paths[1], *paths[4:6]]) | (windows["onset"] == 5.0)
    assert table["reason"].notna().equals(unusable)
    assert "is not audio" in table["reason"][3]
    assert table["reason"][12] == "does not exist."
    assert "ends at 0.400 s, but a clip begins at 5.0 s" in table["reason"].iloc[-1]
    embeddings = np.stack(table["embedding"])
    assert np.isnan(embeddings[unusable]).all()
    assert np.allclose(embeddings[~unusable], cpc.transform(windows[~unusable]), atol=1e-6)
    assert cpc.on_error == on_error


def test_rows_of_unusable_headers_stay_in_the_dataset(cpc, windows, tmp_path):
    paths = [*dict.fromkeys(windows["path"]), str(tmp_path / "missing.wav")]
    with pytest.warns(UserWarning, match="cannot be used"):
        windows = cut_windows(paths, 0.15, on_error="nan")
    with pytest.warns(UserWarning, match="1 rows have no embedding"):
        embed_archive(cpc, windows, tmp_path / "data")
    assert read_all(tmp_path / "data")["reason"].iloc[-1] == "does not exist."


def test_embeddings_too_large_for_float16_are_refused(windows, tmp_path):
    scaler = StandardScaler()
    pipe = make_pipeline(small_cpc(max_epochs=0), scaler).fit(windows)
    scaler = pipe[-1]
    scaler.scale_ = scaler.scale_ / 1e6
    with pytest.raises(ValueError, match=r"embeddings as large as .* do not fit float16"):
        embed_archive(pipe, windows, tmp_path / "data", dtype="float16")
    embed_archive(pipe, windows, tmp_path / "data", dtype="float32")


# Spreading


def test_threads_write_the_same_dataset(cpc, windows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    windows["path"] = ["audio/" + os.path.basename(path) for path in windows["path"]]
    embed_archive(cpc, windows, "one")
    with joblib.parallel_config("threading"):
        embed_archive(cpc, windows, "several", n_jobs=2)
    assert files_in("one") == files_in("several")
    one, several = read_all("one"), read_all("several")
    assert one["path"].tolist() == windows["path"].tolist()
    assert np.allclose(np.stack(one.pop("embedding")), np.stack(several.pop("embedding")), atol=1e-6)
    pd.testing.assert_frame_equal(one, several)


# Resuming


def test_stopped_work_continues_where_it_stopped(cpc, windows, tmp_path, monkeypatch):
    embed_archive(cpc, windows, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(CPCTransformer, "transform", interrupt_after(2, CPCTransformer.transform))
        with pytest.raises(KeyboardInterrupt):
            embed_archive(cpc, windows, tmp_path / "data")
    assert len(files_in(tmp_path / "data")) == 2
    before = {name: (tmp_path / "data" / name).stat().st_mtime_ns for name in files_in(tmp_path / "data")[1:]}
    (tmp_path / "data" / f".sklearn_cpc-{'0' * 16}").write_bytes(b"half")
    (tmp_path / "data" / f".sklearn_cpc-{'0' * 16}.lock").touch()
    embed_archive(cpc, windows, tmp_path / "data")
    assert files_in(tmp_path / "data") == files_in(tmp_path / "whole")
    for name in files_in(tmp_path / "whole"):
        assert (tmp_path / "data" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    for name in before:
        assert (tmp_path / "data" / name).stat().st_mtime_ns == before[name]


def interrupt_after(n_calls, method):
    calls = []

    def interrupted(*args):
        calls.append(args)
        if len(calls) > n_calls:
            raise KeyboardInterrupt
        return method(*args)

    return interrupted


def test_finished_dataset_is_left_alone(cpc, windows, tmp_path, monkeypatch):
    embed_archive(cpc, windows, tmp_path / "data")
    monkeypatch.setattr(CPCTransformer, "transform", interrupt_after(0, None))
    embed_archive(cpc, windows, tmp_path / "data")


def test_other_estimator_table_or_type_is_refused(cpc, windows, tmp_path):
    embed_archive(cpc, windows, tmp_path / "data")
    other = small_cpc(max_epochs=0, random_state=1).fit(rising_tones(4))
    with pytest.raises(
        ValueError, match=r"part-000000\.parquet has embeddings of other settings \(estimator changed\)"
    ):
        embed_archive(other, windows, tmp_path / "data")
    with pytest.raises(ValueError, match=r"\(windows changed\); give another directory"):
        embed_archive(cpc, windows.assign(onset=windows["onset"] + 0.01), tmp_path / "data")
    with pytest.raises(ValueError, match=r"\(dtype changed\)"):
        embed_archive(cpc, windows, tmp_path / "data", dtype="float16")
    with pytest.raises(ValueError, match="windows"):
        embed_archive(cpc, windows[:-1], tmp_path / "data")


class Windows(nn.Module):
    """An encoder of the user."""

    sample_rate = 1000

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(50, 8)

    def forward(self, samples):
        return self.linear(samples.reshape(len(samples), -1, 50))


@pytest.mark.parametrize("encoder", [small_encoder(), Windows()], ids=["recipe", "module"])
def test_estimator_is_the_same_after_copying_and_other_settings_of_reading(windows, tmp_path, encoder):
    pipe = make_pipeline(small_cpc(encoder=encoder, max_epochs=1), PCA(3)).fit(rising_tones(12))
    embed_archive(pipe, windows, tmp_path / "data")
    joblib.dump(pipe, tmp_path / "pipe")
    same = joblib.load(tmp_path / "pipe")
    same.set_params(
        cpctransformer__n_jobs=2, cpctransformer__device="cpu", cpctransformer__verbose=1, verbose=True
    )
    embed_archive(same, windows, tmp_path / "data")
    pipe[0].network_.predictor.register_buffer("more", pipe[0].network_.encoder.state_dict().popitem()[1])
    with pytest.raises(ValueError, match="estimator changed"):
        embed_archive(pipe, windows, tmp_path / "data")


def test_estimator_is_the_same_after_saving(cpc, windows, tmp_path):
    pipe = make_pipeline(cpc, StandardScaler()).fit(windows)
    embed_archive(pipe, windows, tmp_path / "data")
    pipe[0].save(tmp_path / "cpc.safetensors")
    pipe.steps[0] = ("cpctransformer", load(tmp_path / "cpc.safetensors"))
    embed_archive(pipe, windows, tmp_path / "data")


def test_damaged_part_is_named(cpc, windows, tmp_path):
    embed_archive(cpc, windows, tmp_path / "data")
    (tmp_path / "data" / "part-000001.parquet").write_bytes(b"PAR1")
    for call in (lambda: embed_archive(cpc, windows, tmp_path / "data"), lambda: read_archive(tmp_path / "data")):
        with pytest.raises(ValueError, match=r"part-000001\.parquet is damaged"):
            call()


def test_invalid_arguments_are_refused(cpc, windows, tmp_path):
    with pytest.raises(NotFittedError):
        embed_archive(MFCCTransformer(), windows, tmp_path / "data")
    with pytest.raises(ValueError, match="transform"):
        embed_archive(nn.Identity(), windows, tmp_path / "data")
    with pytest.raises(ValueError, match="dtype"):
        embed_archive(cpc, windows, tmp_path / "data", dtype="float64")
    with pytest.raises(TypeError, match="no column of paths"):
        embed_archive(cpc, rising_tones(4), tmp_path / "data")
    with pytest.raises(ValueError, match="surrogates not allowed"):
        embed_archive(cpc, ["a\udcff.wav"], tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_missing_pyarrow_names_the_extra(cpc, windows, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    for call in (lambda: embed_archive(cpc, windows, tmp_path / "data"), lambda: read_archive(tmp_path)):
        with pytest.raises(
            ImportError, match=r"needs pyarrow; install it with pip install 'sklearn-cpc\[archive\]'"
        ):
            call()


# Reading


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_dataset_is_read_as_windows_and_mapped_embeddings(cpc, windows, tmp_path, dtype):
    Path(windows["path"].iloc[0]).unlink()
    with pytest.warns(UserWarning, match="3 rows"):
        embed_archive(cpc, windows, tmp_path / "data", dtype=dtype)
    expected = read_all(tmp_path / "data")
    for _ in range(2):
        table, embeddings = read_archive(tmp_path / "data")
        pd.testing.assert_frame_equal(table, expected.drop(columns="embedding"))
        assert isinstance(embeddings, np.memmap)
        assert embeddings.dtype == dtype
        assert np.array_equal(embeddings, np.stack(expected["embedding"]), equal_nan=True)
        assert files_in(tmp_path / "data") == [f"part-00000{i}.parquet" for i in range(4)]  # tools read all files


def test_copy_of_embeddings_follows_the_dataset(cpc, windows, tmp_path):
    embed_archive(cpc, windows, tmp_path / "data")
    read_archive(tmp_path / "data")
    file = tmp_path / "data" / "part-000000.parquet"
    file.unlink()
    with pytest.raises(ValueError, match="has 3 parts of 4; call embed_archive"):
        read_archive(tmp_path / "data")
    Path(windows["path"].iloc[0]).unlink()
    with pytest.warns(UserWarning, match="3 rows"):
        embed_archive(cpc, windows, tmp_path / "data")
    assert np.isnan(read_archive(tmp_path / "data")[1][:3]).all()
    assert len(list(tmp_path.glob(".data-*"))) == 1


def test_directory_without_dataset_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has 0 parts of a dataset"):
        read_archive(tmp_path)
