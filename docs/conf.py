"""Sphinx over docs/: `nox -s docs`."""

from importlib.metadata import version as installed

project = "NAS toolkit"
author = "the NAS toolkit's authors"
project_copyright = author
release = version = installed("nas-search")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx.ext.viewcode"]
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"{project} {release}"
exclude_patterns = ["_build"]

# Docstrings say `name` of code, and have sections of their own.
default_role = "literal"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = [
    ("Differs from the paper", "notes"),
    ("Differs from the papers", "notes"),
    ("Differs from the released code", "notes"),
    ("Differs from the released codes", "notes"),
    ("Differs from DARTS", "notes"),
    ("Reference", "references"),
]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": False}
