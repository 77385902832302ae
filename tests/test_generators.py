"""Random numbers of a thread's own: those that torch's generator would give, which stays as it is."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from sklearn_cpc._generators import Dropout, Dropout2d, own_generator, redirect_draws, use_generator

IMAGES = torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(0))


@contextlib.contextmanager
def torchs_generator(seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def generator_of_ones_own(seed):
    before = torch.get_rng_state()
    with use_generator(torch.Generator().manual_seed(seed)):
        yield
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(("ours", "torchs"), [(Dropout, nn.Dropout), (Dropout2d, nn.Dropout2d)])
def test_dropout_equals_torchs_for_the_same_seed(ours, torchs, inplace, p, dtype):
    images = IMAGES.to(dtype)
    with torchs_generator(3):
        expected = torchs(p, inplace)(images.clone())
    with generator_of_ones_own(3):
        assert torch.equal(ours(p, inplace)(images.clone()), expected)
    with torchs_generator(3):  # where the thread has no generator
        assert torch.equal(ours(p, inplace)(images.clone()), expected)


@pytest.mark.parametrize("kind", [Dropout, Dropout2d])
def test_dropout_keeps_everything_in_evaluation(kind):
    with generator_of_ones_own(3):
        assert kind(0.5).eval()(IMAGES) is IMAGES


@pytest.mark.parametrize("kind", [Dropout, Dropout2d])
def test_gradients_flow_through_what_dropout_keeps(kind):
    images = IMAGES.clone().requires_grad_()
    with generator_of_ones_own(3):
        dropped = kind(0.5)(images)
    dropped.sum().backward()
    assert torch.equal(images.grad, 2.0 * (dropped != 0))


LAYERS = {
    "gru": lambda: nn.GRU(3, 4),
    "convolution": lambda: nn.Conv1d(2, 3, 2),
    "transformer": lambda: nn.TransformerEncoderLayer(8, 2, 8, batch_first=True),
}


@pytest.mark.parametrize("name", LAYERS)
def test_initial_weights_are_those_of_torchs_generator(name):
    with torchs_generator(3):
        expected = LAYERS[name]()
    with generator_of_ones_own(3), redirect_draws():
        layer = LAYERS[name]()
    for one, other in zip(layer.parameters(), expected.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_layer_of_torchs_drops_by_the_generator_of_the_thread():
    layer, steps = nn.TransformerEncoderLayer(8, 2, 8, dropout=0.5, batch_first=True), torch.ones(2, 3, 8)
    with torchs_generator(3):
        expected = layer(steps)
    with generator_of_ones_own(3), redirect_draws():
        assert torch.equal(layer(steps), expected)


def test_only_the_thread_itself_uses_its_generator():
    with generator_of_ones_own(3), ThreadPoolExecutor(1) as pool:
        assert pool.submit(own_generator).result() is None
        assert own_generator().initial_seed() == 3
    assert own_generator() is None


def test_an_inner_block_ends_where_the_outer_goes_on():
    def fail():
        with use_generator(None):
            assert own_generator() is None
            raise ZeroDivisionError

    with use_generator(torch.Generator().manual_seed(1)):
        with pytest.raises(ZeroDivisionError):
            fail()
        assert own_generator().initial_seed() == 1
