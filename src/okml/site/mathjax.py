"""MathJax, served from the site itself for formulas without a network."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

PACKAGE = "sphinx-mathjax-offline"  # includes MathJax 3; a folder, since the name is no identifier
FOLDER = "mathjax"
SCRIPT = "startup.js"
LOADER = "okml-math.js"
# What LOADER names, and what TeX may ask for; the package has many times as much.
PARTS = (
    SCRIPT,
    "core.js",
    "input/tex-base.js",
    "input/tex/extensions",
    "output/chtml.js",
    "output/chtml/fonts",
    "a11y/assistive-mml.js",
)


def only_where_formulas_are(app: Sphinx) -> None:
    """Load MathJax on a page for its own formulas, not for those of the pages below it.

    The home page, which has none, is above all others, and MathJax is a third of what it loads.
    """
    formulas = app.env.get_domain("math")
    of_any = formulas.has_equations

    def has_equations(docname: str | None = None) -> bool:
        own: dict[str, bool] = formulas.data["has_equations"]
        return own.get(docname, False) if docname else bool(of_any())

    formulas.has_equations = has_equations


def load_in_parts(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    """Let a page with formulas say what MathJax loads, and when it sets which of them."""
    if app.env.get_domain("math").has_equations(pagename):
        app.add_js_file(LOADER, loading_method="defer", priority=400)  # MathJax follows at 500


def copy_mathjax(app: Sphinx) -> None:
    """Copy the parts of MathJax that pages load into the site, once."""
    source = Path(str(resources.files(PACKAGE))) / "static" / "mathjax"
    target = Path(app.outdir) / "_static" / FOLDER
    for part in PARTS:
        if (target / part).exists():
            continue
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part)
        else:
            (target / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / part, target / part)
