"""What pages load: scripts and styles where they are used, and MathJax from the site itself.

Extensions put their files on every page, and formulas must be typeset without a network.
"""

from __future__ import annotations

import re
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

CLASSES = re.compile(r'\bclass="([^"]*)"')
# The start of a file's name, and the starts of the CSS classes of the elements that need it.
USED_BY: dict[str, str | tuple[str, ...]] = {
    "clipboard": "highlight",
    "copybutton": "highlight",
    "design-tabs": "sd-",
    "mystnb": "cell",
    "sphinx-design": "sd-",
    "sphinx-thebe": "thebe",
    "togglebutton": ("toggle", "dropdown"),
}
SETTINGS = "documentation_options.js"  # scripts inside of a page change them, so they come first
SEARCH = "search"  # its template has scripts that use those of all pages at once
PACKAGE = "sphinx-mathjax-offline"  # includes MathJax 3; a folder, since the name is no identifier
MATHJAX = "mathjax"
STARTUP = "startup.js"
LOADER = "okml-math.js"
# The files that LOADER names, and those that TeX may load; the package is many times as large.
PARTS = (
    STARTUP,
    "core.js",
    "input/tex-base.js",
    "input/tex/extensions",
    "output/chtml.js",
    "output/chtml/fonts",
    "a11y/assistive-mml.js",
)


def load_what_is_used(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    """Leave out what a page does not use, and let the browser read the page before scripts run."""
    classes = set(" ".join(CLASSES.findall(context.get("body", ""))).split())
    for kind in ("css_files", "script_files"):
        context[kind] = [file for file in context[kind] if _is_used(_name(file), classes)]
    if pagename != SEARCH:
        context["script_files"] = [_deferred(script) for script in context["script_files"]]


def _name(file: Any) -> str:
    return Path(file.filename or "").name


def _is_used(name: str, classes: set[str]) -> bool:
    marks = next((marks for start, marks in USED_BY.items() if name.startswith(start)), None)
    return marks is None or any(each.startswith(marks) for each in classes)


def _deferred(script: Any) -> Any:
    """Return a script that runs, in its turn, when the page is there."""
    is_file = script.filename and _name(script) != SETTINGS
    if not is_file or script.attributes.keys() & {"defer", "async"}:
        return script
    attributes = {**script.attributes, "defer": "defer"}
    return type(script)(script.filename, priority=script.priority, **attributes)


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
    """Add to a page with formulas the script that says what MathJax loads and typesets when."""
    if app.env.get_domain("math").has_equations(pagename):
        app.add_js_file(LOADER, loading_method="defer", priority=400)  # MathJax follows at 500


def copy_mathjax(app: Sphinx) -> None:
    """Copy the parts of MathJax that pages load into the site, once."""
    source = Path(str(resources.files(PACKAGE))) / "static" / "mathjax"
    target = Path(app.outdir) / "_static" / MATHJAX
    for part in PARTS:
        if (target / part).exists():
            continue
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part)
        else:
            (target / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / part, target / part)
