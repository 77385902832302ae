"""Constraints on parameters, beside scikit-learn's own, and how estimators and functions state them.

Upper bounds are far above any real use. They keep a mistyped number, or a model file from a stranger, from
filling the memory of the machine.
"""

import os
from numbers import Integral, Real
from typing import Annotated, Any, ClassVar, get_origin

from sklearn.utils._param_validation import HasMethods, Interval, StrOptions, make_constraint, validate_params

from ._version import DOCUMENTATION_URL


class Constrained:
    """A dataclass whose annotations hold the constraints on its parameters: ``lr: Annotated[float, POSITIVE]``.

    They become scikit-learn's ``_parameter_constraints``, and the annotations plain types. scikit-learn's HTML
    representation links to the page of the class.
    """

    _doc_link_module = "sklearn_cpc"
    _doc_link_template = DOCUMENTATION_URL + "api/sklearn_cpc.{estimator_name}.html"

    _parameter_constraints: ClassVar[dict] = {}

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        annotated = {name: kind for name, kind in cls.__annotations__.items() if get_origin(kind) is Annotated}
        own = {name: list(kind.__metadata__) for name, kind in annotated.items()}
        cls._parameter_constraints = {**cls._parameter_constraints, **own}
        cls.__annotations__.update({name: kind.__origin__ for name, kind in annotated.items()})


def check_parameters(**constraints):
    """Let a function check its parameters, as scikit-learn's functions do."""
    return validate_params(constraints, prefer_skip_nested_validation=True)


def integers(low, high):
    """Constrain to integers from ``low`` to ``high``, both allowed."""
    return Interval(Integral, low, high, closed="both")


class Each(HasMethods):  # scikit-learn accepts only its own constraints and their subclasses
    """Tuples or lists of ``least`` to ``most`` entries, which all satisfy one constraint, or one of a list."""

    def __init__(self, entry, least=1, most=100):
        super().__init__("__len__")
        self.entries = [make_constraint(one) for one in (entry if isinstance(entry, list) else [entry])]
        self.least, self.most = least, most

    def is_satisfied_by(self, value):
        """Whether the value is such a tuple or list."""
        is_sequence = isinstance(value, (tuple, list)) and self.least <= len(value) <= self.most
        return is_sequence and all(any(one.is_satisfied_by(item) for one in self.entries) for item in value)

    def __str__(self):
        bounds = f"{self.least}" if self.least == self.most else f"{self.least} to {self.most}"
        return f"a tuple of {bounds} entries, each {' or '.join(map(str, self.entries))}"


POSITIVE = Interval(Real, 0, None, closed="neither")
SHARE = Interval(Real, 0, 1, closed="left")  # dropout, say: 1 would leave nothing
UNITS = integers(1, 2**16)  # sizes of layers, kernels and strides
SAMPLE_RATE = integers(1, 2_000_000)  # Hz
N_FFT = integers(2, 2**16)  # samples
N_MELS = integers(1, 512)
ON_ERROR = StrOptions({"raise", "nan"})
# Types of parameters that several estimators have, with their constraints
Flag = Annotated[bool, "boolean"]
Jobs = Annotated[int | None, integers(-1024, 1024), None]
Memory = Annotated[Any, str, os.PathLike, HasMethods("cache"), None]
RandomState = Annotated[Any, "random_state"]
Verbose = Annotated[int, "verbose"]
