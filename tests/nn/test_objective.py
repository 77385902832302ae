"""InfoNCE agrees with a slow loop for every option, and never takes the wrong window for the future."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from sklearn_cpc.nn.objective import (
    InfoNCE,
    draw_windows,
    future_weights,
    info_nce,
    rounding_bound,
)

NEGATIVES, SIMILARITIES, STEP_WEIGHTS = ("across", "within", "mixed"), ("dot", "cosine"), ("uniform", "linear")
BATCH, N_STEPS, N_FUTURE, DIM = 4, 7, 3, 5
N_CONTEXT = N_STEPS - N_FUTURE
POSITIONS = {
    "last": [[3], [3], [3], [3]],
    "last, each its own": [[3], [0], [2], [1]],
    "all": [list(range(N_STEPS - 1))] * BATCH,
}
N_VALID = {
    "full": None,
    "ragged": [7, 4, 6, 2],
    "some of one step": [7, 1, 1, 5],
    "one clip of sound": [1, 1, 6, 1],
}


def slow_info_nce(
    predictions,
    z,
    positions,
    n_valid,
    negatives="across",
    similarity="dot",
    temperature=None,
    step_weights="uniform",
    windows=None,
):
    """The definitions in the docstring of info_nce, one prediction at a time.

    ``windows``, pairs of clip and step, are what n_across drew.
    """
    predictions, z = predictions.detach().numpy(), z.detach().numpy()
    batch, n_steps, _ = z.shape
    n_future = predictions.shape[2]
    n_valid = [n_steps] * batch if n_valid is None else n_valid
    if temperature is None:
        temperature = {"dot": 1.0, "cosine": 0.1}[similarity]
    weights, losses, accuracy = [], [], []
    for k in range(1, n_future + 1):
        terms, hits = [], []
        for b in range(batch):
            for i, t in enumerate(positions[b]):
                if t + k >= n_valid[b]:
                    continue
                rivals = []
                if negatives in ("within", "mixed"):
                    rivals += [z[b, s] for s in range(n_valid[b]) if s != t + k]
                if negatives in ("across", "mixed") and windows is not None:
                    rivals += [z[o, s] for o, s in windows if o != b]
                elif negatives in ("across", "mixed"):
                    others = [o for o in range(batch) if o != b and positions[o][i] + k < n_valid[o]]
                    rivals += [z[o, positions[o][i] + k] for o in others]
                if not rivals:
                    continue
                prediction = predictions[b, i, k - 1]
                scores = [slow_similarity(prediction, w, similarity) / temperature for w in [z[b, t + k], *rivals]]
                terms.append(-math.log(math.exp(scores[0]) / sum(map(math.exp, scores))))
                hits.append(scores[0] > max(scores[1:]) + 1e-9)  # a tie is no win
        accuracy.append(np.mean(hits) if hits else math.nan)
        if terms:
            losses.append(np.mean(terms))
            weights.append({"uniform": 1, "linear": n_future - k + 1}[step_weights])
    return np.average(losses, weights=weights) if losses else 0.0, np.array(accuracy)


def slow_similarity(a, b, kind):
    return a @ b if kind == "dot" else a @ b / math.sqrt((a @ a) * (b @ b))


def draw(n_positions=1, batch=BATCH, n_steps=N_STEPS, n_future=N_FUTURE, dim=DIM, seed=0):
    """Random predictions and z."""
    random = torch.Generator().manual_seed(seed)
    predictions = torch.randn(batch, n_positions, n_future, dim, generator=random, dtype=torch.float64)
    return predictions, torch.randn(batch, n_steps, dim, generator=random, dtype=torch.float64)


def seeded(function, *args, seed=0, **options):
    """Call with torch's generator seeded, and leave it as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return function(*args, **options)


def windows_drawn(z, n_valid, n_across):
    """Clips and steps that info_nce draws when seeded, as pairs."""
    lengths = torch.full((len(z),), z.shape[1]) if n_valid is None else torch.tensor(n_valid)
    clips, steps = seeded(draw_windows, lengths, n_across)
    return list(zip(clips.tolist(), steps.tolist(), strict=True))


def assert_agrees_with_the_loop(predictions, z, positions, n_valid, n_across=None, **options):
    lengths = None if n_valid is None else torch.tensor(n_valid)
    loss, accuracy = seeded(
        info_nce, predictions, z, torch.tensor(positions), lengths, n_across=n_across, **options
    )
    windows = None if n_across is None else windows_drawn(z, n_valid, n_across)
    slow_loss, slow_accuracy = slow_info_nce(predictions, z, positions, n_valid, windows=windows, **options)
    assert loss.dtype == z.dtype
    assert loss.shape == ()
    assert loss.item() == pytest.approx(slow_loss, rel=1e-10, abs=1e-12)
    np.testing.assert_allclose(accuracy.numpy(), slow_accuracy, rtol=1e-6)


def one_prediction(b, i, k, positions):
    """Predictions that are zero but for step k + 1 of position i of clip b, and z that wants a gradient."""
    predictions, z = draw(n_positions=len(positions[0]))
    only = torch.zeros_like(predictions)
    only[b, i, k] = predictions[b, i, k]
    return only, z.requires_grad_()


# Equality with the loop


@pytest.mark.parametrize("n_valid", N_VALID.values(), ids=N_VALID)
@pytest.mark.parametrize("positions", POSITIONS.values(), ids=POSITIONS)
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_the_loss_equals_a_slow_loop_whatever_the_options(negatives, positions, n_valid):
    predictions, z = draw(n_positions=len(positions[0]))
    for similarity, temperature, step_weights in product(SIMILARITIES, (None, 0.5, 2), STEP_WEIGHTS):
        options = {"similarity": similarity, "temperature": temperature, "step_weights": step_weights}
        assert_agrees_with_the_loop(predictions, z, positions, n_valid, negatives=negatives, **options)


@pytest.mark.parametrize("n_valid", N_VALID.values(), ids=N_VALID)
@pytest.mark.parametrize("positions", POSITIONS.values(), ids=POSITIONS)
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_the_loss_equals_a_slow_loop_with_the_windows_that_were_drawn(negatives, positions, n_valid):
    predictions, z = draw(n_positions=len(positions[0]))
    for n_across, similarity in product((1, 5, 40), SIMILARITIES):
        options = {"negatives": negatives, "n_across": n_across, "similarity": similarity}
        assert_agrees_with_the_loop(predictions, z, positions, n_valid, **options)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_the_loss_equals_the_slow_loop_for_any_shape(data):
    batch, n_steps = data.draw(st.integers(1, 5), "batch"), data.draw(st.integers(1, 8), "n_steps")
    n_future, dim = data.draw(st.integers(1, 4), "n_future"), data.draw(st.integers(1, 6), "dim")
    row = st.lists(
        st.integers(0, n_steps - 1), min_size=(n := data.draw(st.integers(1, 4), "n_positions")), max_size=n
    )
    positions = data.draw(st.lists(row, min_size=batch, max_size=batch), "positions")
    n_valid = data.draw(st.lists(st.integers(1, n_steps), min_size=batch, max_size=batch), "n_valid")
    options = {
        "negatives": data.draw(st.sampled_from(NEGATIVES)),
        "similarity": data.draw(st.sampled_from(SIMILARITIES)),
        "step_weights": data.draw(st.sampled_from(STEP_WEIGHTS)),
        "n_across": data.draw(st.sampled_from([None, 1, 4, 20])),
    }
    predictions, z = draw(n, batch, n_steps, n_future, dim, seed=data.draw(st.integers(0, 99), "seed"))
    assert_agrees_with_the_loop(predictions, z, positions, n_valid, **options)


# What is compared with what


@pytest.mark.parametrize("negatives", NEGATIVES)
@pytest.mark.parametrize("k", range(N_FUTURE))
def test_gradient_reaches_only_the_true_future_and_its_negatives(negatives, k):
    positions = [[0, 3], [1, 3], [2, 3], [0, 2]]
    n_valid = [7, 7, 5, 7]
    for b, i in product(range(BATCH), range(2)):
        target = positions[b][i] + k + 1
        if target >= n_valid[b]:
            continue
        predictions, z = one_prediction(b, i, k, positions)
        info_nce(
            predictions, z, torch.tensor(positions), torch.tensor(n_valid), negatives=negatives
        ).loss.backward()
        pull = torch.einsum("bsd,d->bs", z.grad, predictions[b, i, k])  # below zero: towards the prediction
        towards = {tuple(at) for at in torch.nonzero(pull < 0).tolist()}
        away = {tuple(at) for at in torch.nonzero(pull > 0).tolist()}
        within = {(b, s) for s in range(n_valid[b]) if s != target}
        futures = {(o, positions[o][i] + k + 1) for o in range(BATCH) if o != b}
        across = {(o, s) for o, s in futures if s < n_valid[o]}
        assert towards == {(b, target)}
        assert away == {"within": within, "across": across, "mixed": within | across}[negatives]


@pytest.mark.parametrize("negatives", NEGATIVES)
@pytest.mark.parametrize("positions", POSITIONS.values(), ids=POSITIONS)
def test_only_a_prediction_of_step_k_at_t_plus_k_is_right(positions, negatives):
    # Every window of the batch its own direction, so that predictions can point at one alone.
    z = 40 * torch.eye(BATCH * N_STEPS).reshape(BATCH, N_STEPS, -1)
    where = torch.tensor(positions)
    for offset in (0, 1, 2):
        steps = where[..., None] + 1 + (torch.arange(N_FUTURE) + offset) % N_FUTURE
        predictions = z[torch.arange(BATCH)[:, None, None], steps.clamp_max(N_STEPS - 1)]
        loss, accuracy = info_nce(predictions, z, where, negatives=negatives)
        if offset == 0:
            assert loss < 1e-6
            assert accuracy.tolist() == [1, 1, 1]
        else:  # the future, but a step too early or too late
            assert loss > 1
            assert accuracy.max() < 0.5


@pytest.mark.parametrize("negatives", ["across", "mixed"])
def test_gradient_reaches_drawn_windows_but_no_padding(negatives):
    positions, n_valid, n_across = [[0, 3], [1, 3], [2, 3], [0, 2]], [7, 7, 5, 7], 12
    for b in range(BATCH):
        target = positions[b][0] + 2
        predictions, z = one_prediction(b, 0, 1, positions)
        batch = predictions, z, torch.tensor(positions), torch.tensor(n_valid)
        seeded(info_nce, *batch, negatives=negatives, n_across=n_across).loss.backward()
        drawn = windows_drawn(z, n_valid, n_across)
        pull = torch.einsum("bsd,d->bs", z.grad, predictions[b, 0, 1])
        within = {(b, s) for s in range(n_valid[b]) if s != target} if negatives == "mixed" else set()
        across = {window for window in drawn if window[0] != b}  # those of its own clip do not count
        assert {tuple(at) for at in torch.nonzero(pull < 0).tolist()} == {(b, target)}
        assert {tuple(at) for at in torch.nonzero(pull > 0).tolist()} == within | across
    assert {0, 2} < {clip for clip, _ in drawn}  # so some predictions met windows of their own clip


def test_windows_of_its_own_clip_are_no_negatives_of_a_prediction():
    # One clip is nearly all of the batch, and so is what is drawn.
    predictions, z = draw(batch=2)
    at, n_valid = torch.tensor([[3], [0]]), torch.tensor([7, 1])
    for seed in range(5):
        clips, _ = seeded(draw_windows, n_valid, 30, seed=seed)
        n_other = int((clips == 1).sum())
        loss = seeded(info_nce, torch.zeros_like(predictions), z, at, n_valid, n_across=30, seed=seed).loss
        assert 0 < n_other < 15
        assert loss.item() == pytest.approx(math.log(1 + n_other))


def test_loss_is_zero_without_windows_of_other_clips():
    predictions, z = draw(batch=1)
    loss, accuracy = info_nce(predictions, z, torch.full((1, 1), 3), n_across=20)
    assert loss == 0
    assert accuracy.isnan().all()


def test_a_twin_of_the_future_elsewhere_halves_the_probability():
    z = torch.zeros(1, 5, 2)
    z[0, [1, 4]] = torch.tensor([100.0, 0.0])
    loss, accuracy = info_nce(z[:, None, 1:2], z, torch.zeros(1, 1, dtype=torch.long), negatives="within")
    assert loss.item() == pytest.approx(math.log(2))
    assert accuracy.item() == 0


# Windows drawn at random


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 30), st.integers(0, 99))
def test_windows_are_drawn_from_all_that_holds_sound(n_valid, n_windows, seed):
    clips, steps = seeded(draw_windows, torch.tensor(n_valid), n_windows, seed=seed)
    assert clips.shape == steps.shape == (n_windows,)
    assert clips.dtype == steps.dtype == torch.int64
    assert (clips >= 0).all()
    assert (clips < len(n_valid)).all()
    assert (steps >= 0).all()
    assert (steps < torch.tensor(n_valid)[clips]).all()


def test_every_window_is_drawn_equally_often():
    n_valid, n = torch.tensor([4, 1, 7, 2]), 60_000
    clips, steps = seeded(draw_windows, n_valid, n)
    counts = torch.zeros(4, 7).index_put((clips, steps), torch.ones(n), accumulate=True)
    valid = torch.arange(7) < n_valid[:, None]
    assert (counts[~valid] == 0).all()
    # Five standard errors of a share of 1/14.
    np.testing.assert_allclose(counts[valid] / n, 1 / 14, atol=5 * math.sqrt(1 / 14 / n))


def test_draws_repeat_with_the_seed_and_differ_between_batches():
    predictions, z = draw()
    batch = predictions, z, torch.full((BATCH, 1), 3)
    losses = [seeded(info_nce, *batch, n_across=5, seed=seed).loss.item() for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert [info_nce(*batch, n_across=5).loss.item() for _ in range(2)] != losses[:2]


@pytest.mark.parametrize(("negatives", "n_across"), [("across", None), ("mixed", None), ("within", 5)])
def test_nothing_is_drawn_unless_it_is_needed(negatives, n_across):
    predictions, z = draw()
    before = torch.get_rng_state()
    info_nce(predictions, z, torch.full((BATCH, 1), 3), negatives=negatives, n_across=n_across)
    assert torch.equal(torch.get_rng_state(), before)


# Closed forms


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize(
    ("negatives", "n_valid", "candidates"),
    [
        ("across", None, 8),  # one in each of 8 clips
        ("within", None, 30),  # 30 windows of a clip
        ("mixed", None, 37),  # and 7 of other clips
        ("across", [30] * 5 + [29, 10, 1], 5),  # with predictions at step 27, five clips have a future
        ("within", [30] * 5 + [20, 10, 1], 30),
        ("mixed", [30] * 5 + [20, 10, 1], 34),
    ],
)
def test_loss_of_constant_embeddings_is_log_n_candidates(negatives, n_valid, candidates, similarity):
    predictions = torch.full((8, 1, 3, 16), 0.3)
    n_valid = None if n_valid is None else torch.tensor(n_valid)
    positions = torch.full((8, 1), 26)
    if n_valid is not None and negatives == "across":
        predictions, positions = predictions[:, :, -1:], positions + 2  # the third step alone, at window 29
    loss, accuracy = info_nce(
        predictions, torch.ones(8, 30, 16), positions, n_valid, negatives=negatives, similarity=similarity
    )
    assert loss.item() == pytest.approx(math.log(candidates), rel=1e-5)
    assert accuracy.max() == 0


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize(("negatives", "within"), [("across", 0), ("mixed", 29)])
def test_loss_of_constant_embeddings_is_log_n_drawn_windows(negatives, within, similarity):
    z, predictions = torch.ones(8, 30, 16), torch.full((8, 1, 3, 16), 0.3)
    options = {"negatives": negatives, "similarity": similarity, "n_across": 100}
    loss, accuracy = seeded(info_nce, predictions, z, torch.full((8, 1), 26), **options)
    clips = torch.tensor([clip for clip, _ in windows_drawn(z, None, 100)])
    expected = [math.log(1 + within + (clips != b).sum()) for b in range(8)]
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-5)
    assert accuracy.max() == 0


@pytest.mark.parametrize("negatives", NEGATIVES)
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_a_tie_is_no_win_however_the_sums_are_rounded(negatives, similarity):
    # A network that maps all sound to one vector must not look accurate.
    random = torch.Generator().manual_seed(0)
    for dim in (3, 16, 100, 256):
        z = torch.randn(dim, generator=random).expand(8, 30, dim)
        predictions = torch.randn(8, 29, 3, dim, generator=random)
        positions = torch.arange(29).expand(8, 29)
        for n_across in (None, 50):
            options = {"negatives": negatives, "similarity": similarity, "n_across": n_across}
            assert info_nce(predictions, z, positions, **options).accuracy.max() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [2, 16, 256, 2048])
def test_dot_products_are_known_to_within_the_rounding_bound(dim, dtype):
    random = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 500, dim, generator=random, dtype=torch.float64).to(dtype)
    sums = torch.stack([(a * b).sum(-1), torch.einsum("nd,nd->n", a, b), (a.flip(1) * b.flip(1)).cumsum(1)[:, -1]])
    bound = rounding_bound(a.norm(dim=-1), b.norm(dim=-1))
    assert ((sums.amax(0) - sums.amin(0)) <= bound).all()
    assert (bound < 1e-4 * a.norm(dim=-1) * b.norm(dim=-1)).all()


def test_an_untrained_prediction_of_zero_costs_log_n():
    _, z = draw()
    loss = info_nce(torch.zeros(BATCH, 1, N_FUTURE, DIM, dtype=torch.float64), z, torch.full((BATCH, 1), 3)).loss
    assert loss.item() == pytest.approx(math.log(BATCH))


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_a_temperature_is_a_division_of_the_predictions(negatives):
    predictions, z = draw()
    at = torch.full((BATCH, 1), 3)
    divided = info_nce(predictions / 0.3, z, at, negatives=negatives)
    assert_close(info_nce(predictions, z, at, negatives=negatives, temperature=0.3), divided)


@pytest.mark.parametrize(("similarity", "temperature"), [("dot", 1.0), ("cosine", 0.1)])
def test_default_temperature_is_1_for_dot_and_01_for_cosine(similarity, temperature):
    predictions, z = draw()
    at = torch.full((BATCH, 1), 3)
    named = info_nce(predictions, z, at, similarity=similarity, temperature=temperature)
    assert info_nce(predictions, z, at, similarity=similarity).loss == named.loss


def test_cosine_does_not_see_the_length_of_anything():
    predictions, z = draw()
    at = torch.full((BATCH, 1), 3)
    lengths = torch.rand(BATCH, N_STEPS, 1, dtype=torch.float64) + 0.1
    plain = info_nce(predictions, z, at, negatives="mixed", similarity="cosine")
    assert_close(info_nce(predictions * 7, z * lengths, at, negatives="mixed", similarity="cosine"), plain)


@pytest.mark.parametrize("n_future", [1, 2, 3, 12])
@pytest.mark.parametrize("kind", STEP_WEIGHTS)
def test_step_weights_sum_to_one(kind, n_future):
    weights = future_weights(kind, n_future, torch.empty(0, dtype=torch.float64))
    assert weights.shape == (n_future,)
    assert weights.dtype == torch.float64
    assert weights.sum().item() == pytest.approx(1)
    assert (weights > 0).all()


def test_linear_weights_fall_evenly_and_uniform_weights_are_equal():
    like = torch.empty(0)
    assert_close(future_weights("linear", 3, like), torch.tensor([3, 2, 1]) / 6)
    assert_close(future_weights("uniform", 3, like), torch.ones(3) / 3)


def test_the_loss_is_the_weighted_mean_of_the_losses_of_the_steps():
    predictions, z = draw()
    at = torch.full((BATCH, 1), 3)
    steps = [info_nce(predictions[:, :, k : k + 1], z, at + k).loss.item() for k in range(3)]
    uniform, linear = (info_nce(predictions, z, at, step_weights=kind).loss.item() for kind in STEP_WEIGHTS)
    assert uniform == pytest.approx(np.mean(steps))
    assert linear == pytest.approx(np.average(steps, weights=[3, 2, 1]))


def test_weights_go_to_the_steps_that_have_a_prediction():
    predictions, z = draw()
    at, n_valid = torch.full((BATCH, 1), 3), torch.full((BATCH,), 6)  # t + 3 = 6 is padding
    both = info_nce(predictions[:, :, :2], z, at, n_valid).loss
    assert info_nce(predictions, z, at, n_valid).loss.item() == pytest.approx(both.item())


# Gradients and masks


@pytest.mark.parametrize("n_across", [None, 6])
@pytest.mark.parametrize("n_valid", [None, [7, 4, 6, 1]], ids=["full", "ragged"])
@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_the_gradient_is_that_of_finite_differences(negatives, similarity, n_valid, n_across):
    predictions, z = (tensor.requires_grad_() for tensor in draw(n_positions=2, dim=2))
    positions = torch.tensor([[3, 0], [1, 2], [2, 3], [0, 1]])
    n_valid = None if n_valid is None else torch.tensor(n_valid)

    def loss(predictions, z):
        options = {"negatives": negatives, "similarity": similarity, "step_weights": "linear"}
        return seeded(info_nce, predictions, z, positions, n_valid, n_across=n_across, **options).loss

    assert torch.autograd.gradcheck(loss, (predictions, z), fast_mode=n_across is not None)


@pytest.mark.parametrize("n_across", [None, 20])
@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("positions", POSITIONS.values(), ids=POSITIONS)
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_windows_of_padding_change_nothing_and_get_no_gradient(negatives, positions, similarity, n_across):
    predictions, z = draw(n_positions=len(positions[0]))
    where, n_valid = torch.tensor(positions), torch.tensor([7, 4, 6, 1])
    padding = torch.arange(N_STEPS) >= n_valid[:, None]
    without_future = where[..., None] + torch.arange(1, N_FUTURE + 1) >= n_valid[:, None, None]
    options = {"negatives": negatives, "similarity": similarity, "n_across": n_across}
    clean = seeded(info_nce, predictions, z, where, n_valid, **options)
    z[padding] = 1e9
    predictions[without_future] = -1e9
    predictions.requires_grad_(), z.requires_grad_()
    loss, accuracy = seeded(info_nce, predictions, z, where, n_valid, **options)
    loss.backward()
    assert loss.item() == clean.loss.item()
    assert_close(accuracy, clean.accuracy, equal_nan=True, rtol=0, atol=0)
    assert (z.grad[padding] == 0).all()
    assert (predictions.grad[without_future] == 0).all()
    assert z.grad.isfinite().all()
    assert (z.grad != 0).any()


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_no_prediction_at_all_is_a_loss_of_zero_without_gradients(negatives, similarity):
    predictions, z = (tensor.requires_grad_() for tensor in draw())
    at, n_valid = torch.zeros(BATCH, 1, dtype=torch.long), torch.ones(BATCH, dtype=torch.long)
    loss, accuracy = info_nce(predictions, z, at, n_valid, negatives=negatives, similarity=similarity)
    loss.backward()
    assert loss.item() == 0
    assert accuracy.isnan().all()
    assert (z.grad == 0).all()
    assert (predictions.grad == 0).all()


def test_a_batch_of_one_has_no_negatives_across_clips_but_some_within():
    predictions, z = draw(batch=1)
    at = torch.full((1, 1), 3)
    assert info_nce(predictions, z, at, negatives="across").loss == 0
    mixed, within = (info_nce(predictions, z, at, negatives=kind).loss for kind in ("mixed", "within"))
    assert mixed == within > 0


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_the_order_of_the_clips_does_not_matter(negatives):
    predictions, z = draw(n_positions=2)
    positions, n_valid = torch.tensor([[3, 0], [1, 2], [2, 3], [0, 1]]), torch.tensor([7, 4, 6, 3])
    order = torch.tensor([2, 0, 3, 1])
    batch = predictions, z, positions, n_valid
    shuffled = info_nce(*(tensor[order] for tensor in batch), negatives=negatives)
    assert_close(shuffled, info_nce(*batch, negatives=negatives))


def test_huge_scores_stay_finite_in_float32():
    predictions, z = (1e4 * tensor.float() for tensor in draw())
    predictions.requires_grad_()
    for n_across in (None, 10):
        loss = info_nce(predictions, z, torch.full((BATCH, 1), 3), negatives="mixed", n_across=n_across).loss
        loss.backward()
        assert loss.isfinite()
        assert predictions.grad.isfinite().all()


# Bad input


@pytest.mark.parametrize(
    ("option", "value", "known"),
    [
        ("negatives", "beyond", {"across", "within", "mixed"}),
        ("similarity", "euclid", {"dot", "cosine"}),
        ("step_weights", None, {"uniform", "linear"}),
        ("negatives", ["across"], {"across", "within", "mixed"}),
        ("temperature", 0.0, {"a float in the range (0.0, inf)", "None"}),
        ("temperature", math.nan, {"Got nan instead"}),
        ("n_across", 2.5, {"an int in the range", "None"}),
    ],
)
def test_an_unknown_option_is_quoted_with_those_that_are_known(option, value, known):
    predictions, z = draw()
    for call in (
        lambda: info_nce(predictions, z, torch.full((BATCH, 1), 3), **{option: value}),
        lambda: InfoNCE(**{option: value})(n_future=3),
    ):
        with pytest.raises(ValueError, match=f"The '{option}' parameter of (info_nce|InfoNCE) must be") as error:
            call()
        assert all(text in str(error.value) for text in known)


@pytest.mark.parametrize("parameters", [{"predict_from": "first"}, {"projection": 0}, {"projection": "half"}])
def test_a_bad_parameter_of_the_recipe_is_named(parameters):
    with pytest.raises(ValueError, match=f"The '{next(iter(parameters))}' parameter of InfoNCE must be"):
        InfoNCE(**parameters)(n_future=3)


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (InfoNCE(), 8),
        (InfoNCE("within"), 30),
        (InfoNCE("mixed"), 37),
        (InfoNCE("across", n_across=64), 57),
        (InfoNCE("mixed", n_across=64), 86),
    ],
)
def test_the_recipe_counts_the_candidates_of_a_prediction(objective, expected):
    assert objective.n_candidates(batch_size=8, n_steps=30) == expected


@pytest.mark.parametrize(("negatives", "n_across"), [("across", None), ("within", None), ("mixed", None)])
def test_as_many_candidates_are_counted_as_the_loss_has(negatives, n_across):
    z, predictions = torch.ones(8, 30, 4), torch.ones(8, 1, 3, 4)
    loss = info_nce(predictions, z, torch.full((8, 1), 26), negatives=negatives, n_across=n_across).loss
    assert round(loss.exp().item()) == InfoNCE(negatives, n_across).n_candidates(8, 30)
