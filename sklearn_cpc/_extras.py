"""Optional packages."""

import importlib


def import_extra(module, extra):
    """Import a module of an optional package; the error says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(f"this needs {package}; install it with pip install 'sklearn-cpc[{extra}]'.") from error
