"""The version of the package, and where its documentation is."""

__version__ = "0.1.0"
DOCUMENTATION_URL = "https://sklearn-cpc.readthedocs.io/stable/"
