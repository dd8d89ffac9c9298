"""Configuration of the documentation (`make docs`)."""

import re

from distilled_experts import __version__

project = "Distilled Experts"
author = "The Distilled Experts developers"
version = release = __version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # the numpydoc sections give types and shapes
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_theme = "pydata_sphinx_theme"
html_title = project
html_sidebars = {page: [] for page in ("index", "concepts", "compare", "tabular", "transformers", "swap")}
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": False, "show_prev_next": False}


def escape_leading_axes(app, what, name, obj, options, lines) -> None:
    """Let docstrings write shapes as ``(*, N, D)``: reStructuredText would read the asterisk as emphasis."""
    lines[:] = [
        re.sub(r"``.*?``|`[^`]*`|\(\*,", lambda found: r"(\*," if found[0] == "(*," else found[0], line)
        for line in lines
    ]


def setup(app) -> None:
    app.connect("autodoc-process-docstring", escape_leading_axes, priority=900)
