"""Where, in what type and by what random numbers a network computes."""

import numpy as np
import pytest
import torch
from sklearn.utils import check_random_state
from torch import nn

from sklearn_cpc.nn.device import in_precision_of, resolve_device, resolve_precision, seeded

CPU = torch.device("cpu")
NO_GPU = not torch.cuda.is_available()


# Devices and precision


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu"), "cpu:0"])
def test_a_device_may_be_a_name_or_a_device(device):
    assert resolve_device(device).type == "cpu"


def test_auto_is_the_gpu_if_there_is_one():
    assert resolve_device("auto").type == ("cpu" if NO_GPU else "cuda")


@pytest.mark.parametrize("device", ["banana", "", "cuda:99", None, 3.5, "cpu:banana"])
def test_a_device_that_cannot_be_used_is_a_value_error_that_quotes_it(device):
    with pytest.raises(ValueError, match="cannot be used here") as error:
        resolve_device(device)
    assert str(error.value).startswith(f"device={device!r} ")
    assert "use 'auto' or 'cpu'" in str(error.value)


@pytest.mark.skipif(not NO_GPU, reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", torch.device("cuda"), 0])
def test_a_gpu_that_is_not_there_is_a_value_error(device):
    with pytest.raises(ValueError, match="cannot be used here"):
        resolve_device(device)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_a_precision_asked_for_is_taken_anywhere(precision, device):
    assert resolve_precision(precision, torch.device(device)) == precision


@pytest.mark.parametrize(("native", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_precision_is_bfloat16_where_the_processor_has_it(native, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native, raising=False)
    assert resolve_precision("auto", CPU) == expected
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0) if native else (7, 5))
    assert resolve_precision("auto", torch.device("cuda")) == expected
    assert resolve_precision("auto", torch.device("mps")) == "float32"


def test_auto_precision_is_float32_where_torch_cannot_tell(monkeypatch):
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert resolve_precision("auto", CPU) == "float32"


def test_float64_is_computed_by_a_double_copy_and_float32_by_the_module_itself():
    module = nn.Linear(2, 2)
    assert in_precision_of(module, np.dtype(np.float32)) is module
    double = in_precision_of(module, np.dtype(np.float64))
    assert double.weight.dtype == torch.float64
    assert module.weight.dtype == torch.float32
    torch.testing.assert_close(double.weight.float(), module.weight)


# Seeds


def test_a_seeded_block_repeats_and_leaves_the_global_generator_alone():
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
