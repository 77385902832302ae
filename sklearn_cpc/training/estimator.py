"""What a fitted estimator keeps of its training, and how it goes on from there."""

import contextlib
import copy
import copyreg

import numpy as np
from sklearn.utils import check_random_state
from torch import nn

from ..persistence import SaveMixin, from_bytes, to_bytes


class FittedNetworkMixin(SaveMixin):
    """What a fitted estimator keeps of its training, and how it is saved and pickled."""

    random_state: object
    history_: list[dict]
    _optimizer_state = None  # of Adam, twice the weights: kept to go on, not pickled
    _random = None

    def _generator(self, go_on):
        """Random generator of a fit; one that goes on does not draw the same order and clips again."""
        return (go_on and self._random) or check_random_state(self.random_state)

    def _keep(self, network, training, random, go_on):
        """Set the fitted attributes; history and epochs add up when training went on.

        Raises what stopped the training before its time, if anything did.
        """
        before = self.history_ if go_on else []
        self.history_ = before + [{**row, "epoch": len(before) + row["epoch"]} for row in training.history]
        self.n_iter_ = len(self.history_)
        self.interrupted_ = training.stopped_by is not None
        self.network_ = network.eval()
        self._optimizer_state = training.optimizer_state
        self._random = random
        if training.stopped_by is not None:
            raise training.stopped_by

    def __reduce_ex__(self, protocol):
        """Pickle and copy the attributes, but for the optimizer; the network on the CPU, for any machine."""
        state = dict(super().__getstate__())  # type: ignore[misc]  # a copy: it may be the attributes
        state.pop("_optimizer_state", None)
        if any(weights.device.type != "cpu" for weights in getattr(self, "network_", nn.Identity()).parameters()):
            state["network_"] = copy.deepcopy(self.network_).cpu()
        return copyreg.__newobj__, (type(self),), state  # type: ignore[attr-defined]

    def __getstate__(self):
        """State for those who store no code, as skops: of a fitted estimator, the bytes of its model file."""
        if not hasattr(self, "network_"):
            return super().__getstate__()  # type: ignore[misc]
        return {"model": np.frombuffer(to_bytes(self), np.uint8)}

    def __setstate__(self, state):
        """Take the attributes, or those that a model file describes."""
        if "model" not in state:
            super().__setstate__(state)  # type: ignore[misc]
            return
        loaded = from_bytes(np.asarray(state["model"], np.uint8).tobytes())
        if type(loaded) is not type(self):
            raise ValueError(f"the model file of a {type(self).__name__} describes a {type(loaded).__name__}.")
        vars(self).update(vars(loaded))


def take_over(estimator, network):
    """Load the weights an estimator has learned into a network newly built from its parameters.

    Raises
    ------
    ValueError
        If the parameters have changed so that the weights do not fit.
    """
    try:
        network.load_state_dict(estimator.network_.state_dict())
    except RuntimeError as error:
        raise ValueError(
            "cannot go on from the last fit, whose weights do not fit the parameters as they are now; fit with "
            f"warm_start=False ({error})."
        ) from error


@contextlib.contextmanager
def unchanged_on_error(estimator):
    """Give an estimator its attributes back if the block raises: a fit succeeds or never was."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
