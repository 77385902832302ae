"""Device, precision and random numbers of a network's computations."""

import contextlib
import copy
import functools
import itertools
import os
import threading

import numpy as np
import torch

from .._generators import use_generator
from .._threads import keep_thread_count

_dtypes: list[torch.dtype] = []  # default ones before each block in progress, in all threads: they share it
_dtypes_lock = threading.Lock()
_torchs_generators = threading.RLock()  # held by who seeds them
if hasattr(os, "register_at_fork"):  # in a forked process, the thread that held it is gone
    os.register_at_fork(after_in_child=_torchs_generators._at_fork_reinit)  # type: ignore[attr-defined]


def resolve_device(device):
    """Turn the parameter ``device`` into a torch.device: "auto" is a CUDA GPU if there is one, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        probe = torch.empty(0, device=torch.device(device))
        probe.cpu()  # fails on "meta", which computes nothing
        return probe.device
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(f"device={device!r} cannot be used here ({error}); use 'auto' or 'cpu'.") from error


def move(tensor, device):
    """Copy a tensor or a dict of them to a device; to a GPU without waiting until they are there."""
    if isinstance(tensor, dict):
        return {name: move(part, device) for name, part in tensor.items()}
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def free_memory(device):
    """Return the free bytes of a GPU; 0 for other devices."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def resolve_precision(precision, device):
    """Turn "auto" into "bfloat16" where the processor computes in it natively, else "float32"."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device) >= (8, 0) else "float32"
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bfloat16" if device.type == "cpu" and native() else "float32"


def match_input(module, dtype, device):
    """Return a module for input of a dtype on a device: itself if it can be used as it is, else a copy.

    It is never changed: other threads may use it.
    """
    tensors = itertools.chain(module.parameters(), module.buffers())
    is_there = all(t.device.type == device.type and device.index in (None, t.device.index) for t in tensors)
    if is_there and dtype != np.float64 and not any(part.training for part in module.modules()):
        return module
    copied = copy.deepcopy(module).to(device).eval()
    return copied.double() if dtype == np.float64 else copied


@contextlib.contextmanager
def standard_settings(device):
    """Run the block with torch's usual settings, whatever the process or the caller has set.

    These are: new tensors are float32 and on the CPU, gradients are on, inference mode and autocast are off.
    """
    kind = torch.device(device).type
    keep_thread_count()
    # Change only what is unusual: a default device slows every operation down, and inside of another autocast,
    # weights that were cast once are never cast anew.
    with contextlib.ExitStack() as settings:
        if torch.get_default_device().type != "cpu":
            settings.enter_context(torch.device("cpu"))
        if torch.is_autocast_enabled(kind):
            settings.enter_context(torch.autocast(kind, enabled=False))
        settings.enter_context(torch.inference_mode(False))
        settings.enter_context(torch.enable_grad())
        with _dtypes_lock:
            _dtypes.append(torch.get_default_dtype())
            torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            with _dtypes_lock:
                torch.set_default_dtype(_dtypes.pop())


def for_inference(function):
    """Let a function with a keyword argument ``device`` run without gradients and in the standard settings."""

    @functools.wraps(function)
    def run(*args, device, **options):
        with standard_settings(device), torch.inference_mode():
            return function(*args, device=device, **options)

    return run


@contextlib.contextmanager
def seeded(random_state, device, *, own=False):
    """Seed torch inside the block and leave its global generators as they were.

    Threads share these generators, so such blocks run one after the other. With ``own``, only what this package
    draws on the CPU is seeded, by a generator of the block's own, and blocks may run at the same time.
    """
    seed = int(random_state.randint(np.iinfo(np.int32).max))
    if own:
        with use_generator(torch.Generator().manual_seed(seed)):
            yield
        return
    devices = [device] if device.type == "cuda" else []
    with _torchs_generators, use_generator(None), torch.random.fork_rng(devices=devices):
        # torch.manual_seed also seeds the GPUs, whose generators are kept only if they are used.
        (torch.default_generator if device.type == "cpu" else torch).manual_seed(seed)
        yield
