"""The documentation as a site: `make docs`. No page asks anything of another host."""

from __future__ import annotations

import re
from importlib.metadata import version as version_of
from typing import Any

project = "emotion-circuits"
version = release = version_of("emotion-circuits")
copyright = "The emotion-circuits authors"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["examples"]
myst_heading_anchors = 4  # headings have the anchors that links between pages use

default_role = "code"  # single backticks in docstrings
napoleon_use_ivar = True
napoleon_attr_annotations = False
python_use_unqualified_type_names = True
toc_object_entries = False  # the side bar lists pages
autodoc_type_aliases = {name: name for name in ("ArrayLike", "FloatArray", "BoolArray", "Array")}
autodoc_type_aliases["npt.ArrayLike"] = "ArrayLike"
autodoc_member_order = "groupwise"
OF_SKLEARN = "set_fit_request, set_transform_request, set_predict_request, set_score_request, get_metadata_routing"
autodoc_default_options = {"members": True, "exclude-members": OF_SKLEARN}
suppress_warnings = ["ref.python"]  # fields of one name in several classes

html_theme = "furo"
html_title = "emotion-circuits"
html_show_sphinx = False


def in_its_language(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Say which language a page is in, so that its characters get the right shapes."""
    context["language"] = "ja" if page.endswith(".ja") else "en"


def several_names(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keep `low, high: two names of one description` together; what stands before a space would be read as a type."""
    lines[:] = [re.sub(r"^:(ivar|param) ([^:]+):", lambda m: m[0].replace(", ", ",\u200b"), line) for line in lines]


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", several_names)
    app.connect("html-page-context", in_its_language)
