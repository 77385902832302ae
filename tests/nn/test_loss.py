"""InfoNCE agrees with a slow loop for every option, and never takes the wrong window for the future."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from sklearn_cpc.nn.loss import NEGATIVES, SIMILARITIES, STEP_WEIGHTS, future_weights, info_nce

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
):
    """The definitions in the docstring of info_nce, one prediction at a time."""
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
                if negatives in ("across", "mixed"):
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


def assert_agrees_with_the_loop(predictions, z, positions, n_valid, **options):
    lengths = None if n_valid is None else torch.tensor(n_valid)
    loss, accuracy = info_nce(predictions, z, torch.tensor(positions), lengths, **options)
    slow_loss, slow_accuracy = slow_info_nce(predictions, z, positions, n_valid, **options)
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
    }
    predictions, z = draw(n, batch, n_steps, n_future, dim, seed=data.draw(st.integers(0, 99), "seed"))
    assert_agrees_with_the_loop(predictions, z, positions, n_valid, **options)


# What is compared with what


@pytest.mark.parametrize("negatives", NEGATIVES)
@pytest.mark.parametrize("k", range(N_FUTURE))
def test_the_gradient_reaches_the_true_future_its_negatives_and_nothing_else(negatives, k):
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


def test_a_twin_of_the_future_elsewhere_halves_the_probability():
    z = torch.zeros(1, 5, 2)
    z[0, [1, 4]] = torch.tensor([100.0, 0.0])
    loss, accuracy = info_nce(z[:, None, 1:2], z, torch.zeros(1, 1, dtype=torch.long), negatives="within")
    assert loss.item() == pytest.approx(math.log(2))
    assert accuracy.item() == 0


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
def test_constant_embeddings_cost_the_logarithm_of_the_number_of_candidates(
    negatives, n_valid, candidates, similarity
):
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


@pytest.mark.parametrize("negatives", NEGATIVES)
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_a_tie_is_no_win_however_the_sums_are_rounded(negatives, similarity):
    # A network that maps all sound to one vector must not look accurate.
    random = torch.Generator().manual_seed(0)
    for dim in (3, 16, 100, 256):
        z = torch.randn(dim, generator=random).expand(8, 30, dim)
        predictions = torch.randn(8, 29, 3, dim, generator=random)
        positions = torch.arange(29).expand(8, 29)
        assert info_nce(predictions, z, positions, negatives=negatives, similarity=similarity).accuracy.max() == 0


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
def test_the_default_temperature_is_one_for_dot_and_a_tenth_for_cosine(similarity, temperature):
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


def test_linear_weights_fall_by_the_same_amount_and_uniform_ones_are_equal():
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


@pytest.mark.parametrize("n_valid", [None, [7, 4, 6, 1]], ids=["full", "ragged"])
@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_the_gradient_is_that_of_finite_differences(negatives, similarity, n_valid):
    predictions, z = (tensor.requires_grad_() for tensor in draw(n_positions=2, dim=3))
    positions = torch.tensor([[3, 0], [1, 2], [2, 3], [0, 1]])
    n_valid = None if n_valid is None else torch.tensor(n_valid)

    def loss(predictions, z):
        options = {"negatives": negatives, "similarity": similarity, "step_weights": "linear"}
        return info_nce(predictions, z, positions, n_valid, **options).loss

    assert torch.autograd.gradcheck(loss, (predictions, z))


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("positions", POSITIONS.values(), ids=POSITIONS)
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_windows_of_padding_change_nothing_and_get_no_gradient(negatives, positions, similarity):
    predictions, z = draw(n_positions=len(positions[0]))
    where, n_valid = torch.tensor(positions), torch.tensor([7, 4, 6, 1])
    padding = torch.arange(N_STEPS) >= n_valid[:, None]
    without_future = where[..., None] + torch.arange(1, N_FUTURE + 1) >= n_valid[:, None, None]
    options = {"negatives": negatives, "similarity": similarity}
    clean = info_nce(predictions, z, where, n_valid, **options)
    z[padding] = 1e9
    predictions[without_future] = -1e9
    predictions.requires_grad_(), z.requires_grad_()
    loss, accuracy = info_nce(predictions, z, where, n_valid, **options)
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
    loss = info_nce(predictions, z, torch.full((BATCH, 1), 3), negatives="mixed").loss
    loss.backward()
    assert loss.isfinite()
    assert predictions.grad.isfinite().all()


# Bad input


@pytest.mark.parametrize(
    ("option", "value", "known"),
    [
        ("negatives", "beyond", "'across', 'within' or 'mixed'"),
        ("similarity", "euclid", "'dot' or 'cosine'"),
        ("step_weights", None, "'uniform' or 'linear'"),
        ("negatives", ["across"], "'across', 'within' or 'mixed'"),
    ],
)
def test_an_unknown_option_is_quoted_with_those_that_are_known(option, value, known):
    predictions, z = draw()
    with pytest.raises(ValueError, match="is unknown") as error:
        info_nce(predictions, z, torch.full((BATCH, 1), 3), **{option: value})
    assert str(error.value) == f"{option}={value!r} is unknown; use {known}."
