"""The index: what it finds is what comparing everything in float64 finds."""

import threading
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from corpus import rising_tones, small_cpc, write_samples

from sklearn_cpc.archive import EmbeddingIndex, cut_windows, embed_archive, embedding, index


def brute_force(embeddings, queries, k):
    """Rows and scores of the best matches, in a plain loop."""
    result = []
    embeddings, queries = np.asarray(embeddings, np.float64), np.atleast_2d(np.asarray(queries, np.float64))
    for i, query in enumerate(queries):
        scores = {}
        for row, other in enumerate(embeddings):
            if np.isfinite(other).all():
                norms = np.sqrt((query**2).sum() * (other**2).sum())
                scores[row] = round(float((query * other).sum() / norms), 10) if norms else 0.0
        best = sorted(scores, key=lambda row: (-scores[row], row))[:k]
        result += [(i, row, scores[row]) for row in best]
    return result


def check(embeddings, queries, k):
    found = EmbeddingIndex(embeddings).query(queries, k)
    assert list(found.columns) == ["query", "row", "score"]
    expected = brute_force(embeddings, queries, k)
    assert list(zip(found["query"], found["row"], strict=True)) == [row[:2] for row in expected]
    assert np.allclose(found["score"], [row[2] for row in expected], atol=1e-9)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(index, "ROWS_PER_BLOCK", 64)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("k", [1, 7, 64, 65])
def test_result_is_that_of_brute_force(dtype, k):
    random = np.random.default_rng(0)
    check(random.standard_normal((300, 24)).astype(dtype), random.standard_normal((5, 24)), k)


@pytest.mark.parametrize("n_threads", [2, 3])
def test_any_number_of_threads_finds_the_same(n_threads):
    random, before = np.random.default_rng(0), torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        for n_rows in (20, 300):
            check(random.standard_normal((n_rows, 24)).astype("float32"), random.standard_normal((5, 24)), 7)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_nearly_equal_rows_are_told_apart(dtype):
    random = np.random.default_rng(0)
    embeddings = (1 + 1e-3 * random.standard_normal((500, 256))).astype(dtype)
    check(embeddings, embeddings[:2], 20)
    check(1000 + np.eye(300, dtype=dtype), np.ones(300), 10)


def test_equal_scores_come_in_the_order_of_rows():
    random = np.random.default_rng(0)
    few = random.standard_normal((3, 17)).astype(np.float16)
    embeddings = few[random.integers(0, 3, 400)].astype(np.float64) * random.choice([1, 2, 3, 0.7], (400, 1))
    found = EmbeddingIndex(embeddings).query(few, 150)
    for _, rows in found.groupby("query"):
        order = np.lexsort((rows["row"], -rows["score"]))
        assert (order == np.arange(150)).all()
        assert rows["score"].nunique() <= 3
    check(np.ones((200, 5)), np.ones(5), 100)


def test_rows_that_are_not_finite_are_never_found():
    embeddings = np.random.default_rng(0).standard_normal((200, 8)).astype(np.float32)
    embeddings[::3] = np.nan
    embeddings[1, 2] = np.inf
    check(embeddings, embeddings[2], 500)
    assert len(EmbeddingIndex(embeddings[[0, 3]]).query(np.ones(8))) == 0


def test_zero_vectors_score_zero():
    embeddings = np.array([[0.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    found = EmbeddingIndex(embeddings).query([[1.0, 0.0], [0.0, 0.0]], 10)
    assert found["row"].tolist() == [2, 0, 3, 1, 0, 1, 2, 3]
    assert found["score"].tolist() == [1, 0, 0, -1, 0, 0, 0, 0]


def test_all_rows_are_found_if_k_exceeds_them():
    found = EmbeddingIndex(np.eye(3)).query(np.eye(3)[1], k=1000)
    assert found["row"].tolist() == [1, 0, 2]


def test_mapped_and_strided_arrays_can_be_searched(tmp_path):
    embeddings = np.random.default_rng(0).standard_normal((150, 8)).astype(np.float16)
    np.save(tmp_path / "embeddings.npy", embeddings)
    mapped = np.load(tmp_path / "embeddings.npy", mmap_mode="r")
    check(mapped, embeddings[0], 5)
    check(mapped[::2, 1:], embeddings[0, 1:], 5)


def test_query_may_have_one_or_two_dimensions():
    found = EmbeddingIndex(np.eye(4))
    pd.testing.assert_frame_equal(found.query(np.eye(4)[2], 3), found.query(np.eye(4)[2:3], 3))
    assert len(found.query(np.empty((0, 4)), 3)) == 0


def test_memory_is_bounded():
    embeddings = np.random.default_rng(0).standard_normal((20000, 32)).astype(np.float16)
    searched = EmbeddingIndex(embeddings)
    tracemalloc.start()
    searched.query(embeddings[:1], 5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < embeddings.nbytes / 2


def test_threads_can_share_an_index():
    embeddings = np.random.default_rng(0).standard_normal((500, 8))
    searched, found = EmbeddingIndex(embeddings), {}

    def search(i):
        found[i] = searched.query(embeddings[i], 1)["row"].tolist()

    threads = [threading.Thread(target=search, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {i: [i] for i in range(8)}


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.eye(3, dtype=int), "must be floats of shape"),
        (np.ones(3), "must be floats of shape"),
        (np.full((2, 2), 1e31), "have a norm beyond 1e"),
        (np.full((2, 2), 1e-35, np.float32), "have a norm beyond 1e"),
    ],
)
def test_unsuitable_embeddings_are_refused(embeddings, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingIndex(embeddings)


@pytest.mark.parametrize(
    ("query", "k", "message"),
    [
        (np.ones(4), 1, r"the query has shape \(1, 4\), but the index has 3 features"),
        (np.ones((1, 1, 3)), 1, "the query has shape"),
        ([[1.0, 0, 0], [np.nan, 0, 0]], 1, "row 1 of the query is not finite"),
        (np.ones(3), 0, "k"),
        (np.ones(3), 1.5, "k"),
    ],
)
def test_unsuitable_queries_are_refused(query, k, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingIndex(np.eye(3)).query(query, k)


def test_recordings_can_be_searched_for_with_the_estimator_of_a_dataset(tmp_path):
    paths = write_samples(tmp_path, rising_tones(6))
    one, other = (small_cpc(max_epochs=0, random_state=seed).fit(paths) for seed in range(2))
    windows = cut_windows(paths, 0.15)
    embed_archive(one, windows, tmp_path / "data")
    index = EmbeddingIndex(tmp_path / "data", one)
    found = index.query(windows[2:5], k=3)
    pd.testing.assert_frame_equal(found, index.query(one.transform(windows[2:5]), k=3))
    with pytest.raises(ValueError, match="has embeddings of another estimator; load the one"):
        EmbeddingIndex(tmp_path / "data", other)


def test_damaged_copy_is_named(tmp_path):
    paths = write_samples(tmp_path, rising_tones(6))
    embed_archive(small_cpc(max_epochs=0).fit(paths), cut_windows(paths, 0.15), tmp_path / "data")
    EmbeddingIndex(tmp_path / "data")
    (copy,) = tmp_path.glob(".data-*.npy")
    data = bytearray(copy.read_bytes())
    data[-3] ^= 4
    copy.write_bytes(data)
    with pytest.raises(ValueError, match=rf"{copy.name} is damaged.*checksum.*delete it"):
        EmbeddingIndex(tmp_path / "data")


def test_windows_of_a_dataset_are_found_again(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "PART_SECONDS", 0.8)
    (tmp_path / "audio").mkdir()
    paths = write_samples(tmp_path / "audio", rising_tones(8))
    windows = cut_windows([*paths, *paths[:1]], 0.15)
    cpc = small_cpc(max_epochs=0).fit(windows[:4])
    (tmp_path / "audio" / "clip-03.wav").unlink()
    with pytest.warns(UserWarning, match="3 rows have no embedding"):
        embed_archive(cpc, windows, tmp_path / "data", dtype="float16")
    rows = [0, 7, 20]
    searched = EmbeddingIndex(tmp_path / "data")
    found = searched.query(cpc.transform(windows.iloc[rows]), k=100)
    assert list(found.columns) == ["query", "row", "path", "onset", "duration", "score"]
    best = found.groupby("query").first()
    pd.testing.assert_frame_equal(
        best[["path", "onset", "duration"]].reset_index(drop=True), windows.iloc[rows].reset_index(drop=True)
    )
    assert best["row"].tolist() == rows
    assert len(found) == 3 * 21
    assert searched.windows["reason"].notna().sum() == 3
