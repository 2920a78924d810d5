"""Sphinx configuration. `DOCS_OFFLINE=1` builds without the network (no intersphinx, not nitpicky)."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as package_version
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

OFFLINE = os.environ.get("DOCS_OFFLINE", "0") == "1"

project = "saescape"
author = "saescape developers"
copyright = f"2026, {author}"
version = release = package_version("saescape")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_autodoc_typehints",
    "sphinx_copybutton",
    "sphinxcontrib.bibtex",
    "slot_returns",
]

bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_mock_imports: list[str] = []
default_role = "literal"
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_use_rtype = False
napoleon_use_param = True
typehints_defaults = "braces"
always_use_bars_union = True
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath", "html_image"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_output_stderr = "remove"
nb_merge_streams = True
nitpicky = not OFFLINE
suppress_warnings = ["myst.header"] + (["myst.xref_missing"] if OFFLINE else [])

intersphinx_mapping = (
    {}
    if OFFLINE
    else {
        "python": ("https://docs.python.org/3", None),
        "anndata": ("https://anndata.readthedocs.io/en/stable/", None),
        "scanpy": ("https://scanpy.readthedocs.io/en/stable/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "scipy": ("https://docs.scipy.org/doc/scipy/", None),
        "pandas": ("https://pandas.pydata.org/docs/", None),
        "matplotlib": ("https://matplotlib.org/stable/", None),
        "sklearn": ("https://scikit-learn.org/stable/", None),
        "torch": ("https://docs.pytorch.org/docs/stable/", None),
        "spatialdata": ("https://spatialdata.scverse.org/en/stable/", None),
        "squidpy": ("https://squidpy.readthedocs.io/en/stable/", None),
    }
)

templates_path = ["_templates"]
exclude_patterns = ["_build", "**.ipynb_checkpoints", "extensions"]
html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_title = "saescape"
html_theme_options = {
    "repository_url": "https://github.com/saescape/saescape",
    "use_repository_button": True,
    "path_to_docs": "docs/",
    "navigation_with_keys": False,
}
