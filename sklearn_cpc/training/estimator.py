"""The base of all estimators that train a network: one path from parameters to a fitted network."""

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import nn

from .._constraints import POSITIVE, integers
from .._generators import redirect_draws
from .._ranks import join_ranks, own_ranks, run_once, set_in_thread
from ..persistence.models import SaveMixin
from .device import match_input, resolve_device, seeded, standard_settings
from .distributed import plan_alike
from .fit_tasks import CallbackSupportMixin, FitTasks, with_callbacks
from .loop import finish_imports, plain_history, train
from .net import check_callbacks

# Types of parameters, with their constraints
EPOCHS = integers(0, 10**6)
Epochs = Annotated[int, EPOCHS]
BatchSize = Annotated[int, integers(1, 2**24)]
LearningRate = Annotated[float, POSITIVE]
Device = Annotated[str | torch.device, str, torch.device]
Callbacks = Annotated[Sequence | None, list, tuple, None]


@dataclass
class Task:
    """What an estimator trains, and on what."""

    network: nn.Module
    batches: Any
    criterion: nn.Module
    options: dict = field(default_factory=dict)  # further arguments of training.loop.train
    recordings: Any = None  # what was read, for fit_transform
    facts: dict = field(default_factory=dict)  # about the data, for every row of history_


class NetworkEstimator(SaveMixin, CallbackSupportMixin):
    """An estimator that trains a network. A subclass has two methods that say which, and on what.

    ``_build_network()`` builds the network from the parameters. ``_plan(X, y, random, partial, resume)`` reads
    X and y, starts the network, and returns a :class:`Task`; it sets what fit learns from X and y alone. It takes
    further data that ``fit`` is given by name.
    """

    _title = "network"  # of progress bars and figures
    _n_candidates: Any = None  # equally likely answers, for the level of chance; a number or a property
    distributed = False  # a parameter of those whose training processes can share
    _optimizer_state = None  # of Adam, twice the weights: kept to train on, not pickled
    _random = None

    def partial_fit(self, X, y=None, **given):
        """Train for one more epoch on this X, from where the last call of ``fit`` or ``partial_fit`` stopped.

        Parameters
        ----------
        X, y, **given
            As in ``fit``.

        Returns
        -------
        self : estimator
        """
        self._train(X, y, partial=True, **given)
        return self

    def _train(self, X, y=None, *, partial=False, **given):
        """Train and return the :class:`Task`; if ``partial``, for one epoch from the network of the last fit.

        A training that fails leaves the estimator unchanged. One that is stopped after its first finished epoch
        leaves it as after its last, marked as ``interrupted_``, and raises what stopped it.
        """
        self._validate_params()
        check_callbacks(self.callbacks, validates=bool(getattr(self, "validation_fraction", 0)))
        resume = (partial or self.warm_start) and hasattr(self, "network_")
        device = resolve_device(self.device)
        random = (resume and self._random) or check_random_state(self.random_state)
        own = device.type == "cpu" and not _runs_foreign_code(self)
        trained = object.__new__(type(self))  # a copy to work on: other threads see the last fit until the end
        trained.__dict__.update(vars(self))
        with join_ranks(device) if self.distributed else set_in_thread("ranks", None), standard_settings(device):
            if own_ranks() and random is np.random.mtrand._rand:  # from which callbacks may draw
                random = check_random_state(random.randint(2**31))
            random = run_once(lambda: random)
            if own_ranks() and own_ranks().rank:  # rank 0 alone shows how far it is
                trained.__dict__.update(verbose=0, _skl_callbacks=[])
            with seeded(random, device, own=own):
                finish_imports()
                plan = functools.partial(trained._plan, X, y, random, partial, resume, **given)
                task = plan_alike(trained, plan)
                task.options = {"max_epochs": 1 if partial else self.max_epochs, **task.options}
                stopped_by = trained._run_task(task, X, y, device, resume)
        trained.__dict__.update({k: v for k, v in vars(self).items() if k in ("verbose", "_skl_callbacks")})
        # NumPy's global generator belongs to everybody.
        trained._random = None if random is np.random.mtrand._rand else random
        self.__dict__ = trained.__dict__
        if stopped_by is not None:
            raise stopped_by
        return task

    @with_callbacks
    def _run_task(self, task, X, y, device, resume):
        """Train the network of a task and set what fit learns. Returns what stopped the training, or None."""
        before = self.history_ if resume else []

        def fitted(network, history):
            rows = plain_history(history)
            own = [{**row, **task.facts, "epoch": len(before) + row["epoch"]} for row in rows]
            return {"network_": network.eval(), "history_": before + own, "interrupted_": False}

        knows_tasks = hasattr(self, "set_callbacks")
        fit_tasks = FitTasks(self, X, y, task.options["max_epochs"], fitted) if knows_tasks else None
        training = train(
            task.network,
            task.batches,
            task.criterion,
            lr=self.lr,
            device=device,
            callbacks=self.callbacks,
            verbose=self.verbose,
            title=self._title,
            optimizer_state=self._optimizer_state if resume else None,
            fit_tasks=fit_tasks,
            **task.options,
        )
        self.__dict__.update(fitted(task.network, training.history))
        self.interrupted_ = training.stopped_by is not None
        self._optimizer_state = training.optimizer_state
        if fit_tasks and not self.interrupted_:
            fit_tasks.fit.call_on_fit_task_end(**fit_tasks.what, reconstruction_attributes={})
        return training.stopped_by

    def _start_network(self, resume):
        """Build the network, with the weights of the last fit if ``resume``."""
        with redirect_draws():
            network = self._build_network()
        if resume:
            try:
                network.load_state_dict(self.network_.state_dict())
            except RuntimeError as error:
                raise ValueError(
                    "cannot continue from the last fit, whose weights do not fit the parameters as they are now; "
                    f"fit with warm_start=False ({error})."
                ) from error
        return network

    def _run(self, rows, part=None):
        """Run rows through the network, or a part of it, in their own precision."""
        device = resolve_device(self.device)
        with standard_settings(device), torch.inference_mode():
            network = match_input(self.network_, rows.dtype, device)
            module = network if part is None else getattr(network, part)
            return module(torch.from_numpy(rows).to(device)).cpu().numpy()

    def __sklearn_is_fitted__(self):
        return hasattr(self, "network_")

    @property
    def n_iter_(self):
        """Epochs trained."""
        return len(self.history_)

    def set_params(self, **params):
        """Set parameters; a nested parameter of a recipe that is given by name turns the name into its recipe.

        Parameters
        ----------
        **params : dict
            Parameters by name, nested ones as ``encoder__n_mels=40``.

        Returns
        -------
        self : estimator
        """
        for name in dict.fromkeys(key.partition("__")[0] for key in params if "__" in key):
            value = params.get(name, getattr(self, name, None))
            if isinstance(value, str) and value in self._recipes.get(name, ()):
                params[name] = self._recipes[name][value]()
        return super().set_params(**params)

    _recipes: ClassVar[dict] = {}  # classes of recipes by name, by parameter

    def __sklearn_tags__(self):
        """Declare that transformers give float32 for float32."""
        tags = super().__sklearn_tags__()
        if tags.transformer_tags is not None:
            tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __reduce_ex__(self, protocol):
        """Pickle and copy the attributes, without the optimizer; the network on the CPU, for any machine."""
        *how, state = super().__reduce_ex__(protocol)
        state.pop("_optimizer_state", None)
        if any(weights.device.type != "cpu" for weights in getattr(self, "network_", nn.Identity()).parameters()):
            state["network_"] = copy.deepcopy(self.network_).cpu()
        return *how, state


def _runs_foreign_code(estimator):
    """Whether a training runs modules, functions or callbacks of others, which may use torch's generators."""
    parts = [part for part in estimator.get_params().values() if callable(part)]
    return bool(estimator.callbacks) or not all(
        str(part.__module__).startswith("sklearn_cpc.") for part in [estimator, *parts]
    )
