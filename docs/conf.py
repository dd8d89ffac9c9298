"""Configuration of the documentation (`make docs`)."""

import os
import re
import sys
from pathlib import Path

from sphinx_gallery.sorting import ExplicitOrder

from distilled_experts import __version__

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
sys.path.append(str(HERE / "_extensions"))
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # the pages of examples would have them

project = "Distilled Experts"
author = "The Distilled Experts developers"
project_copyright = f"{author}, Apache-2.0"
version = release = __version__

extensions = [
    "mathml",
    "myst_parser",
    "numpydoc",
    "pages_beside",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
toc_object_entries_show_parents = "hide"
maximum_signature_line_length = 100
autodoc_typehints = "none"  # the numpydoc sections give types and shapes
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

sphinx_gallery_conf = {
    "examples_dirs": str(EXAMPLES),
    "gallery_dirs": "examples",
    "filename_pattern": r"\.py$",
    # From the simple to the special, as the list for readers of the files has them.
    "within_subsection_order": ExplicitOrder(
        re.findall(r"\]\((\w+\.py)\)", (EXAMPLES / "README.md").read_text(encoding="utf-8"))
    ),
    "abort_on_example_error": True,
    "capture_repr": (),
    "default_thumb_file": str(HERE / "images" / "mixture.svg"),
    "download_all_examples": False,
    "image_srcset": ["2x"],
    "min_reported_time": float("inf"),
    "notebook_extensions": set(),
    "show_signature": False,
    "thumbnail_size": (800, 500),
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = project
html_context = {"default_mode": "auto"}
html_favicon = "images/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_sidebars = {page: [] for page in ("index", "start", "examples/index")}
html_show_sourcelink = False
html_theme_options = {
    "footer_start": ["copyright"],
    "footer_end": [],
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": False,
    "show_toc_level": 2,
}


def escape_leading_axes(app, what, name, obj, options, lines) -> None:
    """Let docstrings write shapes as ``(*, N, D)``: reStructuredText would read the asterisk as emphasis."""
    lines[:] = [
        re.sub(r"``.*?``|`[^`]*`|\(\*,", lambda found: r"(\*," if found[0] == "(*," else found[0], line)
        for line in lines
    ]


def setup(app) -> None:
    app.connect("autodoc-process-docstring", escape_leading_axes, priority=900)
