"""What extensions put on every page: only where it is used, and scripts that no page waits for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

CLASSES = re.compile(r'\bclass="([^"]*)"')
# How the names of files start, and the classes of what these files style or move.
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
