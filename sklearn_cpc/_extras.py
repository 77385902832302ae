"""Optional packages."""

import importlib
import sys


def import_extra(module, extra):
    """Import a module of an optional package; the error says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(f"this needs {package}; install it with pip install 'sklearn-cpc[{extra}]'.") from error


def from_pandas(name):
    """Return a name of pandas, or () if nothing has imported pandas: then no object is of its types."""
    return getattr(sys.modules.get("pandas"), name, ())
