"""How the site is built from these pages: `make docs`, offline, with warnings as errors.

The pages are written for a forge's view as well: what only the site needs
stands in comments, which `tools.docs_site` turns into directives.
"""

import logging
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tools import docs_site  # noqa: E402  # the checkout is no package

# It tells about plugins when it is imported.
logging.getLogger("alembic").setLevel(logging.WARNING)

project = "flask_squidmesh"
author = "The authors of flask_squidmesh"
project_copyright = author
version = release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinxcontrib.mermaid",
]
# Every reference of the API leads somewhere; names in text may be anything.
nitpicky = True
nitpick_ignore_regex = [("py:obj", "(?s).*"), ("py:class", "[AW]")]
default_role = "py:obj"

myst_fence_as_directive = ["mermaid"]
# Headings are linked to as on a forge.
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 150
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"flask_squidmesh {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
copybutton_exclude = ".linenos, .gp"
mermaid_d3_zoom = False


def setup(app):
    """Let the pages and references pass through `tools.docs_site`."""
    docs_site.install(app)
