"""Parameters: what an estimator or a recipe was built with, as JSON, each of the types it may have."""

import inspect
import math

import numpy as np
import torch

MAX_ENTRIES = 1000  # of a parameter: layers, say

JOBLIB = "or use joblib.dump, and joblib.load only for files you trust"


class Parameter:
    """A parameter that is of certain types; a float is finite.

    Parameters
    ----------
    *types : type
        Of the value; those of recipes too.
    entries : tuple of type, default=()
        Of the entries, where the value may also be a tuple or list.
    at_most : int, default=None
        Largest size of an integer, where one that is too large would hold up the machine.
    advice : str
        What to do about another value.
    """

    def __init__(self, *types, entries=(), at_most=None, advice="Give it such a value"):
        self.types, self.entries, self.at_most, self.advice = types, entries, at_most, advice

    def encode(self, value, where):
        """Return a value as JSON; raises TypeError if it cannot be stored."""
        value = plain(value)
        if not self.allows(value):
            raise TypeError(
                f"{where} is {described(value)} and cannot be saved: it may be {self.wanted()}. {self.advice}, "
                f"{JOBLIB}."
            )
        return encode(value, where)

    def decode(self, entry, where):
        """Return the value that JSON stands for; raises ValueError unless it may be that of the parameter."""
        value = decode(entry, where)
        if not self.allows(value):
            raise ValueError(f"{where} is {described(value)}; it may be {self.wanted()}")
        return value

    def allows(self, value):
        """Whether the parameter may have the value, as far as types tell."""
        if type(value) in (tuple, list) and self.entries:
            return len(value) <= MAX_ENTRIES and all(allowed(entry, self.entries) for entry in value)
        in_bounds = self.at_most is None or type(value) is not int or abs(value) <= self.at_most
        return in_bounds and allowed(value, self.types)

    def wanted(self):
        """Say in words what may be."""
        names = [kind.__name__ for kind in self.types]
        if self.entries:
            entries = " or ".join(kind.__name__ for kind in self.entries)
            names.append(f"a tuple of {entries}, {MAX_ENTRIES} at most")
        return ", ".join(names) + ("" if self.at_most is None else f", up to {self.at_most}")


class Nothing(Parameter):
    """A parameter of which only the absence can be stored: None, or a list without entries."""

    def allows(self, value):
        """Whether there is nothing in it."""
        return value is None or (type(value) in (tuple, list) and not value)

    def wanted(self):
        """Say in words what may be."""
        return "None"


class NameOrRecipe(Parameter):
    """A recipe, or the name of one.

    A name is stored with the recipe it stands for: should a later release give the name another meaning, it
    comes back as the recipe that it was.

    Parameters
    ----------
    known : dict of {str: type}
        Classes of recipes by name.
    advice : str
        What to do about another value.
    """

    def __init__(self, known, advice):
        super().__init__(*known.values(), advice=advice)
        self.known = known

    def encode(self, value, where):
        """Return a name or recipe as JSON."""
        value = plain(value)
        if not isinstance(value, str):
            return super().encode(value, where)
        if value not in self.known:
            raise TypeError(f"{where}={value!r} is unknown; set it to what it was when fit was called.")
        return {"named": [value, encode(self.known[value](), where)]}

    def decode(self, entry, where):
        """Return the recipe, or the name that still stands for it."""
        if not isinstance(entry, dict) or "named" not in entry:
            return super().decode(entry, where)
        name, recipe = expect(list, entry["named"], where)
        recipe = super().decode(recipe, where)
        now = self.known.get(expect(str, name, where), type(None))()
        unchanged = type(now) is type(recipe) and now.get_params() == recipe.get_params()
        return name if unchanged else recipe


class Parameters:
    """All parameters of a class, by its constructor.

    Parameters
    ----------
    cls : type
        Of estimators or recipes; its constructor stores its arguments and does nothing else.
    known : dict of {str: Parameter}
        By name; may hold more than the class has.
    dropped : tuple of str, default=()
        Parameters that are not stored and get their defaults.
    changed_only : bool, default=False
        Store only what differs from the defaults, for classes whose parameters come and go with releases.
    """

    def __init__(self, cls, known, dropped=(), changed_only=False):
        self.cls, self.known, self.changed_only = cls, known, changed_only
        signature = inspect.signature(cls).parameters.values()
        self.names = {parameter.name for parameter in signature}
        self.defaults = {p.name: p.default for p in signature if p.name not in dropped}

    def encode(self, built, where):
        """Return the parameters of an object as JSON."""
        values = {name: getattr(built, name) for name in self.defaults}
        if self.changed_only:
            values = {name: value for name, value in values.items() if not same(value, self.defaults[name])}
        return {
            name: self._parameter(name, TypeError).encode(value, f"{where}.{name}")
            for name, value in values.items()
        }

    def build(self, entries, where, **others):
        """Build an object from JSON and other parameters; those that it lacks get their defaults."""
        unknown = expect(dict, entries, where).keys() - self.defaults.keys()
        if unknown:
            raise ValueError(
                f"{where} has no parameters {sorted(unknown)} here; use the versions it was written with"
            )
        values = {
            name: self._parameter(name, ValueError).decode(entry, f"{where}.{name}")
            for name, entry in entries.items()
        }
        return self.cls(**values, **others)

    def _parameter(self, name, error):
        if name not in self.known:
            raise error(f"{self.cls.__name__}.{name} cannot be stored by this release, {JOBLIB}.")
        return self.known[name]


RECIPES: dict[str, Parameters] = {}  # by the name of the class


def same(value, default):
    """Whether a value is the default, without a word from arrays and the like."""
    return value is default or (type(value) is type(default) and value == default)


def allowed(value, types):
    """Whether a value is of one of these types, no subclass, and not an infinite float."""
    return type(value) in types and (type(value) is not float or math.isfinite(value))


def described(value):
    """Say what a value is: itself if that is short, else its type."""
    text = repr(value) if type(value) in ENCODERS else ""
    return text if 0 < len(text) <= 60 else f"of type {type(value).__name__}"


def plain(value):
    """Return NumPy's scalars and torch's devices, also in tuples and lists, as what JSON knows."""
    if type(value) in (tuple, list):
        return type(value)(plain(entry) for entry in value)
    if isinstance(value, torch.device):
        return str(value)
    return value.item() if isinstance(value, np.generic) else value


def encode(value, where):
    """Return a value as JSON: what has no form of its own there becomes an object with one key.

    Raises
    ------
    TypeError
        If it cannot be stored.
    """
    value = plain(value)
    recipe = RECIPES.get(type(value).__name__)
    if recipe is not None and type(value) is recipe.cls:
        return {"recipe": [type(value).__name__, recipe.encode(value, type(value).__name__)]}
    if type(value) not in ENCODERS:
        raise TypeError(
            f"{where} holds {value!r}, of type {type(value).__name__}, which cannot be saved; replace it by "
            f"numbers or text, {JOBLIB}."
        )
    return ENCODERS[type(value)](value, where)


def encode_float(value, where):
    """Return a float as JSON, which has no infinity and no NaN."""
    return value if math.isfinite(value) else {"float": repr(value)}


def encode_integer(value, where):
    """Return an integer as JSON."""
    if abs(value) >= 2**64:
        raise TypeError(f"{where} holds {value}, more than 64 bits hold; use a smaller number.")
    return value


ENCODERS = {
    type(None): lambda value, where: value,
    bool: lambda value, where: value,
    str: lambda value, where: value,
    int: encode_integer,
    float: encode_float,
    list: lambda value, where: [encode(entry, where) for entry in value],
    tuple: lambda value, where: {"tuple": [encode(entry, where) for entry in value]},
    dict: lambda value, where: {"dict": [[encode(k, where), encode(v, where)] for k, v in value.items()]},
}


def decode(entry, where):
    """Return the value that JSON stands for.

    Raises
    ------
    ValueError
        If it stands for none.
    """
    if isinstance(entry, list):
        return [decode(item, where) for item in entry]
    if not isinstance(entry, dict):
        return entry
    if len(entry) != 1 or not entry.keys() <= DECODERS.keys():
        raise ValueError(f"{where} holds an object with keys {sorted(entry)[:5]}, which stands for nothing")
    ((kind, content),) = entry.items()
    return DECODERS[kind](content, where)


def decode_tuple(content, where):
    """Return a tuple."""
    return tuple(decode(item, where) for item in expect(list, content, where))


def decode_dict(content, where):
    """Return a dict whose keys are numbers, text and the like."""
    result = {}
    for pair in expect(list, content, where):
        key, value = expect(list, pair, where)
        if type(key) not in (bool, int, float, str, type(None)) or key in result:
            raise ValueError(f"{where} has {key!r} as a key, or has it twice")
        result[key] = decode(value, where)
    return result


def decode_float(content, where):
    """Return infinity or NaN."""
    if content not in ("nan", "inf", "-inf"):
        raise ValueError(f"{where} holds {content!r} as a number")
    return float(content)


def decode_recipe(content, where):
    """Return a recipe of a known class."""
    name, entries = expect(list, content, where)
    if not isinstance(name, str) or name not in RECIPES:
        raise ValueError(f"{where} is a recipe {name!r}, unknown to this release; it knows {', '.join(RECIPES)}")
    return RECIPES[name].build(entries, name)


DECODERS = {"tuple": decode_tuple, "dict": decode_dict, "float": decode_float, "recipe": decode_recipe}


def expect(kind, entry, where):
    """Return an entry of JSON, or raise unless it is of a type."""
    if type(entry) is not kind:
        raise ValueError(f"{where} is a {type(entry).__name__}, not a {kind.__name__}")
    return entry
