"""Where, in what type and by what random numbers a network computes."""

import contextlib

import numpy as np
import pytest
import torch
from sklearn.utils import check_random_state
from torch import nn

from sklearn_cpc import Augmentation, Conv2dEncoder
from sklearn_cpc.nn import pooling
from sklearn_cpc.nn.network import AUTOREGRESSORS, ENCODERS, build_network
from sklearn_cpc.nn.objective import InfoNCE, info_nce
from sklearn_cpc.training.device import match_input, resolve_device, resolve_precision, seeded

CPU = torch.device("cpu")
NO_GPU = not torch.cuda.is_available()


# Devices and precision


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu"), "cpu:0"])
def test_a_device_may_be_a_name_or_a_device(device):
    assert resolve_device(device).type == "cpu"


def test_auto_is_the_gpu_if_there_is_one():
    assert resolve_device("auto").type == ("cpu" if NO_GPU else "cuda")


@pytest.mark.parametrize("device", ["banana", "", "cuda:99", None, 3.5, "cpu:banana"])
def test_unusable_device_raises_value_error_naming_it(device):
    with pytest.raises(ValueError, match="cannot be used here") as error:
        resolve_device(device)
    assert str(error.value).startswith(f"device={device!r} ")
    assert "use 'auto' or 'cpu'" in str(error.value)


@pytest.mark.skipif(not NO_GPU, reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", torch.device("cuda"), 0])
def test_missing_gpu_raises_value_error(device):
    with pytest.raises(ValueError, match="cannot be used here"):
        resolve_device(device)


# Elsewhere: what is on the device "meta" has no values, and cannot be computed with what is on the CPU


@pytest.fixture
def elsewhere(monkeypatch):
    """Return the device; numbers asked of it, on which nothing that is tested here depends, are ones."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # not known of it
    monkeypatch.setattr(torch.Tensor, "__int__", lambda _: 1)
    monkeypatch.setattr(pooling, "to_numpy", lambda tensor: np.ones(tensor.shape))
    return torch.device("meta")


def network_of(encoder="logmel", autoregressor="lstm", augmentation=None):
    """Build a network of clips of 1.5 s at 16 kHz, cut into 30 steps."""
    augmentation = augmentation and augmentation(16000)
    predict_from = "last" if autoregressor == "attention" else "all"
    return build_network(
        encoder,
        autoregressor,
        InfoNCE(predict_from=predict_from),
        n_samples=24000,
        n_context=27,
        n_future=3,
        augmentation=augmentation,
    )


def test_mixing_devices_raises(elsewhere):
    with pytest.raises(RuntimeError, match="device"):
        torch.ones(3, device=elsewhere) + torch.ones(3)
    with pytest.raises(RuntimeError, match="device"):
        network_of()(torch.zeros(2, 24000, device=elsewhere), torch.tensor([30, 30], device=elsewhere))


@pytest.mark.parametrize("autoregressor", AUTOREGRESSORS)
@pytest.mark.parametrize("encoder", [*ENCODERS, Conv2dEncoder(standardize=False)], ids=str)
def test_networks_train_and_embed_on_their_device(encoder, autoregressor, elsewhere):
    network = network_of(encoder, autoregressor).to(elsewhere)
    clips, n_valid = torch.zeros(4, 24000, device=elsewhere), torch.full((4,), 30, device=elsewhere)
    info_nce(*network(clips, n_valid)).loss.backward()
    assert all(weights.grad.device == elsewhere for weights in network.parameters())
    dims = {layer: dim for layer, dim in network.dims.items() if layer != "c" or not network.single_context}
    names = [name for name, how in pooling.POOLINGS.items() if how.layer in dims]
    pooler = pooling.Pooler(names, 4, dims)
    heard = torch.tensor([[0, 30]] * 4, device=elsewhere)
    pooler.update(np.arange(4), network.eval().layers(clips, n_valid, pooler.layers), n_valid, 0 * n_valid, heard)
    assert pooler.result().shape == (4, pooling.n_features(names, dims))


def test_clips_are_augmented_on_their_device(elsewhere):
    amounts = {"gain": 6.0, "equalization": 3.0, "reverb": 0.3, "pitch": 2.0, "time_mask": 0.2, "band_mask": 0.2}
    augmentation = Augmentation(**amounts, noise=(5, 20), mixing=(5, 20))
    assert all(augmentation.get_params().values())  # no effect is off
    network = network_of(augmentation=augmentation).to(elsewhere)
    clips, n_valid = torch.zeros(4, 24000, device=elsewhere), torch.full((4,), 30, device=elsewhere)
    info_nce(*network(clips, n_valid)).loss.backward()


@pytest.mark.parametrize("n_across", [None, 5])
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("step_weights", ["uniform", "linear"])
@pytest.mark.parametrize("negatives", ["across", "within", "mixed"])
def test_loss_is_computed_on_device_of_its_inputs(negatives, step_weights, similarity, n_across, elsewhere):
    predictions, z = torch.zeros(8, 2, 3, 16, device=elsewhere), torch.zeros(8, 30, 16, device=elsewhere)
    positions = torch.full((8, 2), 26, device=elsewhere)
    options = {"step_weights": step_weights, "similarity": similarity, "n_across": n_across}
    result = info_nce(predictions, z, positions, negatives=negatives, **options)
    assert result.loss.device == result.accuracy.device == elsewhere


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_explicit_precision_works_on_any_device(precision, device):
    assert resolve_precision(precision, torch.device(device)) == precision


@pytest.mark.parametrize(("native", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_precision_is_bfloat16_where_cpu_supports_it(native, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native, raising=False)
    assert resolve_precision("auto", CPU) == expected
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0) if native else (7, 5))
    assert resolve_precision("auto", torch.device("cuda")) == expected
    assert resolve_precision("auto", torch.device("mps")) == "float32"


def test_auto_precision_is_float32_where_torch_cannot_tell(monkeypatch):
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert resolve_precision("auto", CPU) == "float32"


def test_a_module_that_suits_the_input_is_used_itself():
    module = nn.Sequential(nn.GRU(2, 2), nn.Dropout(0.5)).eval()
    assert match_input(module, np.dtype(np.float32), resolve_device("cpu:0")) is module


def test_float64_uses_a_double_copy():
    module = nn.Linear(2, 2).eval()
    double = match_input(module, np.dtype(np.float64), CPU)
    assert double.weight.dtype == torch.float64
    assert module.weight.dtype == torch.float32
    torch.testing.assert_close(double.weight.float(), module.weight)


def test_a_module_in_training_mode_is_copied_to_evaluate():
    module = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).eval()
    module[1].train()
    evaluated = match_input(module, np.dtype(np.float32), CPU)
    assert not any(part.training for part in evaluated.modules())
    assert module[1].training
    assert torch.equal(evaluated[0].weight, module[0].weight)


def test_a_module_on_another_device_is_copied_there():
    module = nn.Linear(2, 2).eval()
    assert match_input(module, np.dtype(np.float32), torch.device("meta")).weight.is_meta
    assert not module.weight.is_meta


# Seeds


def test_seeded_block_repeats_without_touching_global_rng():
    before = torch.get_rng_state()
    numbers = []
    for seed in (1, 1, 2):
        with seeded(check_random_state(seed), CPU):
            numbers.append(torch.rand(3))
    assert torch.equal(numbers[0], numbers[1])
    assert not torch.equal(numbers[0], numbers[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_seeded_block_restores_the_generator_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), seeded(check_random_state(0), CPU):
        torch.rand(1).item() / 0
    assert torch.equal(torch.get_rng_state(), before)


def test_seeded_blocks_of_one_random_state_differ():
    random, numbers = check_random_state(0), []
    for _ in range(2):
        with seeded(random, CPU):
            numbers.append(torch.rand(1).item())
    assert numbers[0] != numbers[1]
