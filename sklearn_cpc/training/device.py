"""Device, precision and random numbers of a network's computations."""

import contextlib
import copy
import functools

import numpy as np
import torch


def resolve_device(device):
    """Turn the parameter ``device`` into a torch.device: "auto" is a CUDA GPU if there is one, else the CPU.

    Raises
    ------
    ValueError
        If the device is unknown or not on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved).cpu()  # fails on "meta", which computes nothing
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(f"device={device!r} cannot be used here ({error}); use 'auto' or 'cpu'.") from error
    return resolved


def resolve_precision(precision, device):
    """Turn "auto" into "bfloat16" where the processor computes in it natively, else "float32"."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device) >= (8, 0) else "float32"
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bfloat16" if device.type == "cpu" and native() else "float32"


def match_precision(module, dtype):
    """Return the module itself for float32, a double copy of it for float64 input."""
    return copy.deepcopy(module).double() if dtype == np.float64 else module


@contextlib.contextmanager
def standard_settings(device):
    """Run the block with torch's usual settings, whatever the process or the caller has set.

    These are: new tensors are float32 and on the CPU, gradients are on, inference mode and autocast are off.
    """
    dtype, kind = torch.get_default_dtype(), torch.device(device).type
    # Change only what is unusual: a default device slows every operation down, and inside of another autocast,
    # weights that were cast once are never cast anew.
    with contextlib.ExitStack() as settings:
        if torch.get_default_device().type != "cpu":
            settings.enter_context(torch.device("cpu"))
        if torch.is_autocast_enabled(kind):
            settings.enter_context(torch.autocast(kind, enabled=False))
        settings.enter_context(torch.inference_mode(False))
        settings.enter_context(torch.enable_grad())
        if dtype != torch.float32:  # a setting of all threads: leave it alone where it is the usual one
            torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            if dtype != torch.float32:
                torch.set_default_dtype(dtype)


def for_inference(function):
    """Let a function with a keyword argument ``device`` run without gradients and in the standard settings."""

    @functools.wraps(function)
    def run(*args, device, **options):
        with standard_settings(device), torch.inference_mode():
            return function(*args, device=device, **options)

    return run


@contextlib.contextmanager
def seeded(random_state, device):
    """Seed torch inside the block and leave its global generators as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seed = int(random_state.randint(np.iinfo(np.int32).max))
        # torch.manual_seed also seeds the GPUs, whose generators are kept only if they are used.
        (torch.default_generator if device.type == "cpu" else torch).manual_seed(seed)
        yield
