"""Persistence: fitted estimators to one file and back, as numbers and text, without pickle.

Nothing here knows the classes that are stored: ``sklearn_cpc._storable`` lists them.
"""

from ._saving import SaveMixin, from_bytes, load, save, to_bytes

__all__ = ["SaveMixin", "from_bytes", "load", "save", "to_bytes"]
