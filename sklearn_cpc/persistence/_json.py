"""JSON as strict as it can be read: what the standard leaves open is an error."""

import json
import math
import re

MAX_DEPTH = 64
MAX_DIGITS = 20  # of an integer: those of 64 bits


def parse(text):
    """Parse JSON.

    Raises
    ------
    ValueError
        If it is malformed or too deep, names a key twice, or holds a number that is not finite or no 64 bits
        hold.
    """
    check_depth(text)
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_float
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"its description is damaged: {error}") from error


def check_depth(text):
    """Raise if brackets are nested deeper than the parser's stack should have to bear."""
    depth, in_string = 0, False
    for match in re.finditer(r'\\.|["\[\]{}]', text, re.DOTALL):
        token = match[0]
        if token == '"':
            in_string = not in_string
        elif not in_string:
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token, 0)
        if depth > MAX_DEPTH:
            raise ValueError(f"its JSON is nested more than {MAX_DEPTH} deep")


def _object(pairs):
    result: dict = {}
    for name, value in pairs:
        if name in result:
            raise ValueError(f"its JSON names {name!r} twice")
        result[name] = value
    return result


def _integer(digits):
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"its JSON holds an integer of {len(digits)} digits")
    return int(digits)


def _float(digits):
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"its JSON holds {digits[:20]}, which is not finite")
    return value
