"""Read the README for package indexes, which have no files beside it: its links become absolute."""

import re
from pathlib import Path

from setuptools import setup

SOURCE = "https://github.com/sklearn-cpc/sklearn-cpc"

text = Path("README.md").read_text(encoding="utf-8")
text = re.sub(r"(!\[[^]]*\]\()(?!https:)", rf"\1{SOURCE}/raw/main/", text)
text = re.sub(r"(\]\()(?!https:|#)", rf"\1{SOURCE}/blob/main/", text)
setup(long_description=text, long_description_content_type="text/markdown")
