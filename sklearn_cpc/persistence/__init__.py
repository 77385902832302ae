"""Persistence: fitted estimators to one file and back, as numbers and text, without pickle.

Nothing here knows the classes that are stored: ``sklearn_cpc._storable`` lists them.
"""

from ._saving import SaveMixin, load, save

__all__ = ["SaveMixin", "load", "save"]
