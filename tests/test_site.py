"""The site: its reference lists every public name, every page is in the guide, and broken links are found."""

import re
import runpy
from pathlib import Path

import pytest

import sklearn_cpc
from sklearn_cpc import archive, datasets, displays, evaluation

DOCS = Path(__file__).parents[1] / "docs"
find_broken = runpy.run_path(str(DOCS / "check_links.py"))["find_broken"]


def reference():
    """Full names of what the reference lists."""
    names, module = set(), None
    for line in (DOCS / "api.rst").read_text().splitlines():
        if match := re.match(r"\.\. module:: (\S+)", line):
            module = match[1]
        elif match := re.match(r"   (\w[\w.]*)$", line):
            names.add(f"{module}.{match[1]}")
    return names


@pytest.mark.parametrize(
    "module", [sklearn_cpc, archive, datasets, displays, evaluation], ids=lambda m: m.__name__
)
def test_reference_lists_every_public_name(module):
    public = {f"{module.__name__}.{name}" for name in module.__all__ if name != "__version__"}
    assert public - reference() == set()


def test_every_page_of_the_guide_is_in_both_tables_of_contents():
    toctrees = re.findall(r"^```\{toctree\}.*?^```$", (DOCS / "guide.md").read_text(), re.MULTILINE | re.DOTALL)
    on_site = [line for block in toctrees for line in block.splitlines()[1:-1] if line and line[0] != ":"]
    on_github = re.findall(r"^- \[.*?\]\((\S+)\.md\)", (DOCS / "README.md").read_text(), re.MULTILINE)
    assert on_site == on_github
    front = {"README", "citing", "contributing", "guide", "index", "install", "whats-new"}
    assert {page.stem for page in DOCS.glob("*.md")} - front == set(on_site)


def check(folder, **pages):
    for name, body in pages.items():
        (folder / f"{name}.html").write_text(f"<html><body>{body}</body></html>")
    broken, n_links = find_broken(folder)
    return [line.partition(": ")[2] for line in broken], n_links


def test_links_that_lead_somewhere_pass(tmp_path):
    (tmp_path / "my sound.wav").write_bytes(b"")
    sound = '<audio src="my%20sound.wav"></audio><img src="data:image/png;base64,">'
    body = f'{sound}<a href="b.html#part">b</a><a href="#">top</a><a href="https://example.org/x">away</a>'
    assert check(tmp_path, a=body, b='<h2 id="part">Part</h2>') == ([], 3)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('<a href="c.html">c</a>', "c.html does not exist"),
        ('<a href="b.html#part">b</a>', "b.html#part has no such anchor"),
        ('<a href="#part">part</a>', "#part has no such anchor"),
        ('<audio><source src="lost.wav"></audio>', "lost.wav does not exist"),
        (
            '<script src="https://example.org/x.js"></script>',
            "https://example.org/x.js is loaded from the network",
        ),
        ('<link rel="stylesheet" href="//example.org/x.css">', "//example.org/x.css is loaded from the network"),
    ],
)
def test_broken_link_is_found(tmp_path, body, reason):
    assert check(tmp_path, a=body, b="")[0] == [reason]
