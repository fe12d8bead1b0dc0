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
    """Return a permalink to a line; without an address of the repository, its text and the place.

    Args:
        env: The environment of the build.
        path: The path of a file from the root of the repository.
        line: The number of the line, from 1.
        text: The text of the link; the place if empty.
    """
    place = f"{path}:{line}"
    url = (env.config.html_theme_options.get("repository_url") or "").rstrip("/")
    if not url:
        return tag("code", f"{text} {place}".lstrip(), classes=["okml-source"])
    attrs = {"href": f"{url}/blob/{_sha()}/{path}#L{line}"}
    return tag("a", tag("code", text or place), classes=["okml-source"], attrs=attrs)
