"""The documentation site. `docs/contributing/building.md` says how to build it.

Theme: sphinx-book-theme, since the sites of JAX and Flax have it: the same readers find the same places.
"""

import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import site_reference  # noqa: E402

import jaxcnn  # noqa: E402

project = "jaxcnn"
author = "The jaxcnn authors"
copyright = "2026, the jaxcnn authors. Apache-2.0"
version = release = jaxcnn.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_design",
    "site_pages",
    "site_pictures",
    "site_reference",
]
exclude_patterns = ["_build", "_templates", "**/.ipynb_checkpoints"]
templates_path = ["_templates"]

# Every reference must lead somewhere. Without a network the names of other libraries cannot be looked up; their sites
# are asked where JAXCNN_DOCS_LINKS=1 says so, as for the published site.
nitpicky = True
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", None),
    "numpy": ("https://numpy.org/doc/stable", None),
    "jax": ("https://docs.jax.dev/en/latest", None),
    "flax": ("https://flax.readthedocs.io/en/latest", None),
    "optax": ("https://optax.readthedocs.io/en/latest", None),
    "matplotlib": ("https://matplotlib.org/stable", None),
}
if os.environ.get("JAXCNN_DOCS_LINKS", "0") != "1":
    intersphinx_mapping = {}
_OTHERS = "abc|collections|csr_array|flax|jax|matplotlib|nnx|np|numpy|optax|os|pathlib|PIL|types|typing"
_INNER = r"jaxcnn\..*\.(Form|Item|Made|Model)"  # type variables, and what the C++ backend alone passes round
nitpick_ignore_regex = [("py:.*", rf"({_OTHERS})(\..*)?"), ("py:class", _INNER)]

# Notebooks: "off" shows them without results, "cache" runs those that have changed (FAST=1: in their short form).
nb_execution_mode = os.environ.get("JAXCNN_DOCS_EXECUTE", "off")
nb_execution_timeout = 1800
nb_execution_raise_on_error = True
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4

autosummary_generate = True
autosummary_filename_map = site_reference.PAGE_NAMES
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
napoleon_numpy_docstring = False
napoleon_use_rtype = False
add_module_names = True
toc_object_entries = False

html_theme = "sphinx_book_theme"
html_title = "jaxcnn"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "repository_url": "https://github.com/jaxcnn/jaxcnn",
    "repository_branch": "main",
    "path_to_docs": "docs",
    "use_repository_button": True,
    "use_issues_button": True,
    "use_edit_page_button": False,
    "use_download_button": False,
    "navbar_start": [],  # the sidebar has the search; no bar above it
    "navbar_center": [],
    "navbar_end": [],
    "navbar_persistent": [],
    "show_toc_level": 2,
    "show_navbar_depth": 1,
    "collapse_navigation": True,  # else every page holds a list of all pages
    "home_page_in_toc": True,
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
