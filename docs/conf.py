"""Sphinx configuration: `make docs` builds with warnings as errors and without a network."""

import re
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

import sphinx.pycode.parser

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from function_table import write_function_table  # noqa: E402

write_function_table(HERE / "functions.rst")

project = "optsci"
author = "The optsci developers"
copyright = "2026, The optsci developers"
version = release = installed_version("optsci")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "benchmarks/_pruning", "gallery/*.ipynb", "gallery/*.py"]
html_theme = "furo"
html_title = "optsci"

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"

autosummary_generate = True
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_use_rtype = False
suppress_warnings = ["ref.python"]  # what napoleon takes for a type, the p in (p, p), is an attribute of many classes

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "write_computation_times": False,
    "show_signature": False,
}

# The fields of states and results are documented by the comment beside them; Sphinx itself asks for `#:`.
sphinx.pycode.parser.comment_re = re.compile(r"^\s*#:? ?(.*)\r?\n?$")
