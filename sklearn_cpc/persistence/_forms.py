"""Forms: how estimators of one class are taken apart and put together. Only classes with a form are stored."""

from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ._attributes import Attribute
from ._parameters import JOBLIB, expect

FORMS: dict = {}  # by the name of the class
IGNORED = {"_optimizer_state"}  # kept to go on training, and twice the weights


class EstimatorForm:
    """Parameters and fitted attributes.

    Parameters
    ----------
    parameters : Parameters
        Of the class.
    attributes : dict of {str: Attribute}
        All that an estimator may have beside its parameters, in the order in which it is restored.
    check : callable, default=None
        Called with the estimator before anything fitted is restored; raises if its parameters make no sense.
    """

    def __init__(self, parameters, attributes, check=None):
        self.cls, self.parameters, self.attributes, self.check = parameters.cls, parameters, attributes, check

    def take_apart(self, estimator, place, arrays):
        """Describe a fitted estimator as JSON, and add its arrays under names that begin with ``place``.

        Raises
        ------
        NotFittedError
            If it is not fitted.
        TypeError
            If a part of it cannot be stored.
        """
        check_is_fitted(estimator)
        name = self.cls.__name__
        own = vars(estimator)
        unknown = own.keys() - self.parameters.names - self.attributes.keys() - IGNORED
        if unknown:
            raise TypeError(
                f"{name} has attributes {sorted(unknown)}, which would be lost; delete them, {JOBLIB}."
            )
        state = {}
        for key, attribute in self.attributes.items():
            if attribute.stored and key in own and attribute.holds(own[key]):
                state[key] = attribute.write(own[key], f"{place}{key}", arrays)
        return {"class": name, "parameters": self.parameters.encode(estimator, name), "state": state}

    def put_together(self, node, place, arrays):
        """Build the estimator that JSON describes; takes its arrays out.

        Raises
        ------
        ValueError
            If it describes none.
        """
        name = self.cls.__name__
        check_keys(node, ("class", "parameters", "state"), name)
        if node["class"] != name:
            raise ValueError(f"{place or 'it'} is a {node['class']!r}, not a {name}")
        estimator = self.parameters.build(node["parameters"], name)
        if self.check is not None:
            self.check(estimator)
        state = expect(dict, node["state"], name)
        unknown = state.keys() - {key for key, attribute in self.attributes.items() if attribute.stored}
        if unknown:
            raise ValueError(
                f"{name} has no attributes {sorted(unknown)} here; use the versions it was written with"
            )
        for key, attribute in self.attributes.items():
            if key in state or not attribute.stored:
                value = attribute.read(state.get(key), f"{place}{key}", arrays, estimator)
                setattr(estimator, key, value)
            elif not attribute.optional:
                raise ValueError(f"{name} lacks {key}")
        return estimator

    def compare(self, estimator, loaded):
        """Raise ValueError if what came back computes something else."""
        for key, attribute in self.attributes.items():
            if key in vars(loaded):
                where = f"{self.cls.__name__}.{key}"
                attribute.compare(getattr(estimator, key), getattr(loaded, key), where)


class PipelineForm:
    """A pipeline of estimators that have a form.

    Parameters
    ----------
    parameters : Parameters
        But for its steps.
    """

    cls = Pipeline

    def __init__(self, parameters):
        self.parameters = parameters

    def take_apart(self, pipeline, place, arrays):
        """Describe a fitted pipeline as JSON, and add its arrays under names that begin with ``place``."""
        unknown = vars(pipeline).keys() - self.parameters.names - {"steps"}
        if unknown:
            raise TypeError(
                f"Pipeline has attributes {sorted(unknown)}, which would be lost; delete them, {JOBLIB}."
            )
        steps = []
        for number, (name, step) in enumerate(pipeline.steps):
            skipped = step is None or step == "passthrough"
            node = step if skipped else take_apart(step, f"{place}{number}/", arrays)
            steps.append([name, node])
        return {"class": "Pipeline", "parameters": self.parameters.encode(pipeline, "Pipeline"), "steps": steps}

    def put_together(self, node, place, arrays):
        """Build the pipeline that JSON describes; takes its arrays out."""
        check_keys(node, ("class", "parameters", "steps"), "Pipeline")
        steps = []
        for number, step in enumerate(expect(list, node["steps"], "Pipeline.steps")):
            name, part = expect(list, step, "Pipeline.steps")
            skipped = part is None or part == "passthrough"
            steps.append((name, part if skipped else put_together(part, f"{place}{number}/", arrays)))
        names = [expect(str, name, "Pipeline.steps") for name, _ in steps]
        if not names or len(set(names)) < len(names):
            raise ValueError("Pipeline has no steps, or two of one name")
        return self.parameters.build(node["parameters"], "Pipeline", steps=steps)

    def compare(self, pipeline, loaded):
        """Raise ValueError if a step that came back computes something else."""
        for (_, step), (_, other) in zip(pipeline.steps, loaded.steps, strict=True):
            if not (step is None or step == "passthrough"):
                compare(step, other)


class Part(Attribute):
    """A fitted estimator inside of another one, which sees the same features.

    Parameters
    ----------
    form : EstimatorForm
    """

    def __init__(self, form):
        super().__init__()
        self.form = form

    def write(self, value, place, arrays):
        """Return its description."""
        return self.form.take_apart(value, f"{place}/", arrays)

    def read(self, entry, place, arrays, estimator):
        """Put it together."""
        part = self.form.put_together(entry, f"{place}/", arrays)
        if part.n_features_in_ != estimator.n_features_in_:
            raise ValueError(f"{place} is for {part.n_features_in_} features, not {estimator.n_features_in_}")
        return part


def take_apart(estimator, place, arrays):
    """Describe an estimator by the form of its class; see :meth:`EstimatorForm.take_apart`."""
    return form_of(estimator).take_apart(estimator, place, arrays)


def put_together(node, place, arrays):
    """Build the estimator that JSON describes; see :meth:`EstimatorForm.put_together`."""
    name = expect(dict, node, "an estimator").get("class")
    if not isinstance(name, str) or name not in FORMS:
        raise ValueError(
            f"its class {str(name)[:60]!r} is unknown to this release, which loads {', '.join(FORMS)}"
        )
    return FORMS[name].put_together(node, place, arrays)


def compare(estimator, loaded):
    """Raise ValueError if what came back of an estimator computes something else."""
    form_of(estimator).compare(estimator, loaded)


def form_of(estimator):
    """Return the form of an estimator's class; its subclasses, which may hold anything, have none."""
    form = FORMS.get(type(estimator).__name__)
    if form is None or type(estimator) is not form.cls:
        raise TypeError(
            f"estimators of class {type(estimator).__name__} cannot be saved, only {', '.join(FORMS)}. Save those "
            f"in it, such as best_estimator_ or steps, by themselves, {JOBLIB}."
        )
    return form


def check_keys(node, keys, where):
    """Raise unless an object has exactly these keys."""
    if expect(dict, node, where).keys() != set(keys):
        raise ValueError(f"{where} is described by {sorted(node)[:5]}; it must be {', '.join(keys)}")
