"""Shared fixtures. Also switches on the array API checks, before anything imports scipy."""

import os

os.environ["SCIPY_ARRAY_API"] = "1"
