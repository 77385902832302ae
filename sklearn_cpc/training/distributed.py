"""Distributed training: ranks agree on what they train, and add up their gradients."""

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import distributed

from .._ranks import own_ranks, run_once
from .checkpoint import training_settings

N_COMPARED = 1024  # samples of each recording, which show whether ranks have the same
MAY_DIFFER = "callbacks", "random_state"  # text of foreign callbacks; random numbers, which rank 0 sends


def plan_alike(estimator, plan):
    """Return the :class:`Task` that a function plans. Raise unless all ranks plan the same for the estimator."""
    if not own_ranks():
        return plan()
    tasks = []

    def describe_plan():
        tasks.append(plan())
        middles = [np.append(x[len(x) // 2 :][:N_COMPARED], len(x)) for x in tasks[0].batches.recordings]
        every = getattr(tasks[0].options.get("checkpoint"), "every", None)  # ranks meet when it is written
        return {**training_settings(estimator, tasks[0].network, middles), "checkpoint": every}

    first, *others = own_ranks().run(describe_plan)
    for rank, settings in enumerate(others, 1):
        if differ := [key for key in first if first[key] != settings[key] and key not in MAY_DIFFER]:
            raise ValueError(
                f"rank {rank} does not train the same as rank 0, but has other {', '.join(differ)}; give all "
                "processes the same parameters and the same X, in the same order."
            )
    return tasks[0]


def add_gradients(named_parameters, loss, metrics):
    """Add up each rank's part of the gradients, in place, the loss and the metrics, in one message."""
    trained = [weights for _, weights in named_parameters if weights.requires_grad]
    parts = [torch.zeros_like(weights) if weights.grad is None else weights.grad for weights in trained]
    is_reached = torch.tensor([weights.grad is not None for weights in trained], device=loss.device)
    numbers = torch.stack([torch.as_tensor(value, dtype=loss.dtype) for value in (loss, *metrics.values())])
    *gradients, is_reached, numbers = own_ranks().sum(*parts, is_reached, numbers)
    for weights, gradient, reached in zip(trained, gradients, is_reached, strict=True):
        if weights.grad is not None or reached:  # by the clips of any rank; to read it, a GPU would have to wait
            weights.grad = gradient if weights.is_contiguous() else torch.empty_like(weights).copy_(gradient)
    return numbers[0], dict(zip(metrics, numbers[1:].unbind(), strict=True))


class AlikeRanks(Callback):
    """Let all ranks take the same steps. Must be the first callback: the others see the same everywhere."""

    def on_epoch_begin(self, net, **_):
        """Raise if a callback has ended the training on some ranks."""
        run_once(lambda: None)

    def on_batch_end(self, net, **_):
        """Let the batch weigh as many clips as all ranks have of it."""
        net.history.record_batch("train_batch_size", own_ranks().n_clips)

    def on_epoch_end(self, net, **_):
        """Give all ranks the state of the first: averages over own clips, and rounding of processors, differ."""
        state = [*net.module_.state_dict().values()]
        sent = torch.cat([values.flatten().view(torch.uint8) for values in state])  # gloo cannot send all types
        own_ranks().call(distributed.broadcast, sent, 0)
        for values, part in zip(state, sent.split([values.nbytes for values in state]), strict=True):
            values.copy_(part.clone().view(values.dtype).view(values.shape))
