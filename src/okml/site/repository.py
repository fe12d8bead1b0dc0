"""Links into the repository: to lines of source at the commit of the build."""

from __future__ import annotations

from functools import cache

from sphinx.environment import BuildEnvironment

from okml.runtime import commit
from okml.site.markup import element, tag


@cache
def _sha() -> str:
    return commit().sha


def source_link(env: BuildEnvironment, path: str, line: int, text: str = "") -> element:
    """Return a permalink to a line of a file; its text is the place, or ``text``.

    Without an address of the repository it is no link but the text and the place.
    """
    place = f"{path}:{line}"
    url = (env.config.html_theme_options.get("repository_url") or "").rstrip("/")
    if not url:
        return tag("code", f"{text} {place}".lstrip(), classes=["okml-source"])
    attrs = {"href": f"{url}/blob/{_sha()}/{path}#L{line}"}
    return tag("a", tag("code", text or place), classes=["okml-source"], attrs=attrs)
