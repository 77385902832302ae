"""Configuration of Sphinx. ``make docs`` builds the site."""

import os
import re

from sphinx.util import logging

from sklearn_cpc._version import DOCUMENTATION_URL, __version__

project = "sklearn-cpc"
author = "The sklearn_cpc developers"
copyright = author
release = __version__
extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
# guide.md includes README.md, the table of contents on GitHub. Tables of times load scripts from the network.
exclude_patterns = ["_build", "README.md", "sg_execution_times.rst", "gallery/sg_execution_times.rst"]
templates_path = ["_templates"]

# Pages in Markdown
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

# Reference of classes and functions: every reference to a name of this package has to lead somewhere
autodoc_typehints = "none"
numpydoc_show_class_members = False
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
nitpicky = True
OTHER_PROJECTS = "sklearn|skorch|torch|numpy|pandas|matplotlib|librosa|joblib|nn"
nitpick_ignore_regex = [("py:.*", rf"({OTHER_PROJECTS})(\..*)?")]

# Links to the sites of other projects need the network, so only public builds have them.
if {"DOCS_INTERSPHINX", "READTHEDOCS"} & set(os.environ):
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "matplotlib": ("https://matplotlib.org/stable", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "skorch": ("https://skorch.readthedocs.io/en/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "librosa": ("https://librosa.org/doc/latest", None),
    }
else:
    logging.getLogger(__name__).info(
        "Inventories of other projects were NOT loaded: their names are text, not links. "
        "DOCS_INTERSPHINX=1 loads them from the network."
    )

# Gallery
sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "backreferences_dir": "gallery/backreferences",
    "doc_module": ("sklearn_cpc",),
    "reference_url": {"sklearn_cpc": None},
    "within_subsection_order": "FileNameSortKey",
    "capture_repr": ("_repr_html_",),
    "parallel": 2,
    "min_reported_time": 0,
    "show_signature": False,
}

# Appearance
html_theme = "pydata_sphinx_theme"
html_title = project
html_baseurl = DOCUMENTATION_URL
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
html_sidebars = {page: [] for page in ("index", "install", "whats-new", "contributing", "citing")}
html_theme_options = {
    "logo": {"text": project},
    "github_url": "https://github.com/sklearn-cpc/sklearn-cpc",
    "header_links_before_dropdown": 7,
    "navbar_align": "left",  # on laptops, all links and the search fit in one line
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}


def link_gallery(app, name, source):
    """Let links to the scripts of the gallery, which work on GitHub, lead to their pages."""
    source[0] = re.sub(r"\]\(\.\./examples/gallery/(\w+)\.py\)", r"](gallery/\1.rst)", source[0])


def find_elsewhere(app, env, node, content):
    """Resolve the name of a class or function that another module of the package has."""
    if node.get("refdomain") == "py" and not node.get("refspecific"):
        node["refspecific"] = True
        place = env.get_domain("py").resolve_xref
        return place(env, node["refdoc"], app.builder, node["reftype"], node["reftarget"], node, content)
    return None


def skip_foreign_methods(app, kind, name, member, skip, options):
    """Leave out methods that scikit-learn, skorch or torch document themselves."""
    module = str(getattr(member, "__module__", "")).partition(".")[0]
    return True if module in ("sklearn", "skorch", "torch") else None


def setup(app):
    """Connect these functions to Sphinx."""
    app.connect("source-read", link_gallery)
    app.connect("missing-reference", find_elsewhere)
    app.connect("autodoc-skip-member", skip_foreign_methods)
