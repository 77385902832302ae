"""Autoregressors have the report's sizes and know nothing of the future."""

import math

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from sklearn_cpc import AttentionContext, CausalAttentionContext, GRUContext, LSTMContext
from sklearn_cpc.nn.autoregressors import sinusoids

SMALL = {
    "gru": GRUContext(c_dim=6),
    "gru, two layers": GRUContext(c_dim=6, n_layers=2),
    "lstm": LSTMContext(c_dim=6),
    "lstm, two layers": LSTMContext(c_dim=6, n_layers=2),
    "causal attention": CausalAttentionContext(c_dim=6, n_heads=2, dff=5),
    "causal attention, one layer": CausalAttentionContext(c_dim=6, n_layers=1, n_heads=3, dff=5, dropout=0.0),
    "attention": AttentionContext(n_layers=1, dff=5, dense_units=(7, 6)),
    "attention, wider": AttentionContext(n_layers=2, n_heads=4, dff=5, dense_units=(6,), dropout=0.0),
}
PER_STEP = [name for name in SMALL if not name.startswith("attention")]


def build(name, z_dim=8, n_context=5, seed=0):
    torch.manual_seed(seed)
    return SMALL[name](z_dim, n_context).eval()


@pytest.fixture(autouse=True)
def _rng():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def n_weights(module):
    return sum(weights.numel() for weights in module.parameters())


@pytest.mark.parametrize(("recipe", "expected"), [(GRUContext(), 1_182_720), (AttentionContext(), 1_374_508)])
def test_defaults_have_the_number_of_weights_of_the_report(recipe, expected):
    assert n_weights(recipe(z_dim=256, n_context=27)) == expected


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (GRUContext(6), 3 * (6 * 8 + 6 * 6 + 2 * 6)),  # three gates, from z and from the state, of two biases
        (GRUContext(6, n_layers=2), 3 * (6 * 8 + 6 * 6 + 2 * 6) + 3 * (6 * 6 + 6 * 6 + 2 * 6)),
        (LSTMContext(6), 4 * (6 * 8 + 6 * 6 + 2 * 6)),
        (LSTMContext(6, n_layers=2), 4 * (6 * 8 + 6 * 6 + 2 * 6) + 4 * (6 * 6 + 6 * 6 + 2 * 6)),
        # Inlet; queries, keys, values and outlet of attention, feed-forward, two norms; norm.
        (CausalAttentionContext(6, 1, 2, dff=5), 9 * 6 + 4 * 7 * 6 + (7 * 5 + 6 * 6) + 4 * 6 + 2 * 6),
    ],
    ids=repr,
)
def test_small_networks_have_the_weights_counted_by_hand(recipe, expected):
    assert n_weights(recipe(z_dim=8, n_context=5)) == expected


@pytest.mark.parametrize("name", SMALL)
def test_context_has_the_documented_shape(name):
    assert build(name)(torch.randn(3, 5, 8)).shape == ((3, 5, 6) if name in PER_STEP else (3, 6))


@pytest.mark.parametrize("name", SMALL)
def test_recipe_can_be_cloned_and_builds_a_new_module_every_time(name):
    recipe = clone(SMALL[name])
    assert recipe.get_params() == SMALL[name].get_params()
    before = recipe.get_params()
    first, second = recipe(8, 5), recipe(8, 5)
    assert recipe.get_params() == before
    assert not {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_changed_parameters_take_effect_at_the_next_call():
    for recipe in (GRUContext(), LSTMContext(), CausalAttentionContext(n_heads=3)):
        assert recipe.set_params(c_dim=3)(8, 5)(torch.zeros(1, 5, 8)).shape == (1, 5, 3)
    attention = AttentionContext().set_params(n_heads=4, dense_units=(3,))
    assert attention(8, 5)(torch.zeros(1, 5, 8)).shape == (1, 3)


@pytest.mark.parametrize("name", SMALL)
def test_every_weight_gets_a_gradient(name):
    network = build(name)
    network(torch.randn(3, 5, 8)).square().sum().backward()
    for weights_name, weights in network.named_parameters():
        assert weights.grad is not None, weights_name
        assert (weights.grad != 0).any(), weights_name


@pytest.mark.parametrize("name", SMALL)
def test_clips_of_a_batch_do_not_affect_each_other(name):
    network, z = build(name), torch.randn(3, 5, 8)
    alone = torch.cat([network(row[None]) for row in z])
    torch.testing.assert_close(network(z), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_float64_gives_the_same_context(name):
    network, z = build(name), torch.randn(3, 5, 8)
    single = network(z)
    double = network.double()(z.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(single, double.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("name", SMALL)
def test_autocast_to_bfloat16_stays_close_to_float32(name, train):
    network, z = build(name).train(train), torch.randn(3, 5, 8, requires_grad=True)
    for module in network.modules():
        if isinstance(module, (nn.Dropout, nn.MultiheadAttention)):
            module.p = module.dropout = 0.0
    expected = network(z)
    with torch.autocast("cpu", torch.bfloat16):
        c = network(z)
    torch.testing.assert_close(c.float(), expected, rtol=0.1, atol=0.1)
    c.float().sum().backward()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_recurrent_networks_ignore_autocast_without_avx512(name, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    network, z = build(name), torch.randn(3, 5, 8).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        c = network(z)
    assert c.dtype == torch.float32
    torch.testing.assert_close(c, network(z.float()))
    assert network.double()(z.double()).dtype == torch.float64


# Time


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("t", range(5))
@pytest.mark.parametrize("name", PER_STEP)
def test_contexts_do_not_depend_on_later_steps(name, t, train):
    network, z = build(name).train(train), torch.randn(2, 5, 8)
    for module in network.modules():
        if isinstance(module, (nn.Dropout, nn.MultiheadAttention)):
            module.p = module.dropout = 0.0
    other = z.clone()
    other[:, t + 1 :] = torch.randn(2, 4 - t, 8)
    c, changed = network(z), network(other)
    torch.testing.assert_close(c[:, : t + 1], changed[:, : t + 1], rtol=1e-5, atol=1e-6)
    assert (c[:, t + 1 :] != changed[:, t + 1 :]).all()


@pytest.mark.parametrize("name", PER_STEP)
def test_contexts_have_no_gradient_from_later_steps(name):
    network, z = build(name), torch.randn(1, 5, 8, requires_grad=True)
    for t in range(5):
        (gradient,) = torch.autograd.grad(network(z)[:, t].square().sum(), z)
        heard = (gradient[0] != 0).any(dim=1)
        assert heard.tolist() == [True] * (t + 1) + [False] * (4 - t)


@pytest.mark.parametrize("name", PER_STEP)
def test_networks_with_a_context_per_step_accept_any_number_of_steps(name):
    network, z = build(name), torch.randn(2, 9, 8)
    for n in (1, 4, 9):
        torch.testing.assert_close(network(z)[:, :n], network(z[:, :n]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["causal attention", "attention"])
def test_dropout_acts_in_training_only(name):
    network, z = build(name), torch.randn(2, 5, 8)
    assert torch.equal(network(z), network(z))
    network.train()
    assert not torch.equal(network(z), network(z))


@pytest.mark.parametrize("name", SMALL)
def test_the_order_of_the_past_matters(name):
    network, z = build(name), torch.randn(2, 5, 8)
    last, flipped = network(z), network(z.flip(1))
    if last.ndim == 3:
        last, flipped = last[:, -1], flipped[:, -1]
    assert (last - flipped).abs().max() > 1e-2


@pytest.mark.parametrize("name", SMALL)
def test_last_context_depends_on_every_step(name):
    network, z = build(name), torch.randn(1, 5, 8)
    for step in range(5):
        other = z.clone()
        other[:, step] += torch.randn(8)
        difference = network(z) - network(other)
        assert (difference[:, -1] if name in PER_STEP else difference).abs().max() > 1e-5


def test_causal_attention_distinguishes_positions_of_equal_steps():
    # Each step attends to all before it alike: without positions their contexts would be one.
    network, z = build("causal attention"), torch.randn(1, 1, 8).expand(1, 5, 8)
    c = network(z)[0]
    distances = (c[:, None] - c).abs().amax(dim=2)
    assert distances[~torch.eye(5, dtype=torch.bool)].min() > 1e-3


def test_attention_distinguishes_positions_before_flattening():
    # Without positions the layers would treat equal steps equally, wherever they are.
    network = build("attention")
    joined = []
    network.head.register_forward_pre_hook(lambda _, inputs: joined.append(inputs[0]))
    network(torch.ones(1, 5, 8))
    assert len(joined[0][0].unique(dim=0)) == 5


# Sinusoids


@pytest.mark.parametrize("dim", [1, 2, 5, 8, 256])
def test_positions_are_encoded_by_sines_and_cosines(dim):
    encoding = sinusoids(27, dim)
    assert encoding.shape == (27, dim)
    for position in (0, 1, 13, 26):
        for column in range(dim):
            angle = position / 10000 ** (2 * (column // 2) / dim)
            expected = math.cos(angle) if column % 2 else math.sin(angle)
            assert encoding[position, column].item() == pytest.approx(expected, abs=1e-5)


def test_every_position_has_another_encoding():
    distances = np.linalg.norm(sinusoids(200, 16)[:, None] - sinusoids(200, 16)[None], axis=2)
    assert distances[~np.eye(200, dtype=bool)].min() > 0.1


# Bad parameters


@pytest.mark.parametrize(
    ("recipe", "error", "name"),
    [
        (GRUContext(c_dim=0), ValueError, "c_dim"),
        (GRUContext(c_dim=2.5), TypeError, "c_dim"),
        (GRUContext(n_layers=0), ValueError, "n_layers"),
        (LSTMContext(c_dim=-3), ValueError, "c_dim"),
        (LSTMContext(n_layers="two"), TypeError, "n_layers"),
        (CausalAttentionContext(c_dim=0), ValueError, "c_dim"),
        (CausalAttentionContext(n_layers=0), ValueError, "n_layers"),
        (CausalAttentionContext(n_heads=0), ValueError, "n_heads"),
        (CausalAttentionContext(dff=1.5), TypeError, "dff"),
        (CausalAttentionContext(dropout=1.0), ValueError, "dropout"),
        (CausalAttentionContext(c_dim=6, n_heads=4), ValueError, "n_heads=4 does not divide c_dim=6"),
        (AttentionContext(n_layers=0), ValueError, "n_layers"),
        (AttentionContext(n_heads=-1), ValueError, "n_heads"),
        (AttentionContext(dff="wide"), TypeError, "dff"),
        (AttentionContext(dropout=1), ValueError, "dropout"),
        (AttentionContext(dropout=-0.1), ValueError, "dropout"),
        (AttentionContext(dense_units=()), ValueError, "dense_units"),
        (AttentionContext(dense_units=12), ValueError, "dense_units"),
        (AttentionContext(dense_units=(12, 0)), ValueError, "dense_units"),
    ],
    ids=repr,
)
def test_invalid_parameters_are_named(recipe, error, name):
    with pytest.raises(error, match=name):
        recipe(z_dim=8, n_context=5)


def test_heads_that_do_not_divide_z_dim_are_refused():
    with pytest.raises(ValueError, match=r"n_heads=3 does not divide the encoder's z_dim=8"):
        AttentionContext(n_heads=3)(z_dim=8, n_context=5)
