"""The base classes of the directives: language, page, and errors as Sphinx warnings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from okml.errors import OkmlError
from okml.site.language import Lang, page_language

logger = logging.getLogger(__name__)


def warn(error: OkmlError, location: Any, of: str) -> None:
    """Log an error of the ledger as a warning of the build.

    Args:
        error: The error.
        location: The name of a page, or a file and a line as Sphinx writes them; None for none.
        of: The name of the directive, the role or the file that met the error.
    """
    logger.warning("%s", error.message, location=location, type="okml", subtype=of)


class PageDirective(SphinxDirective, ABC):  # type: ignore[misc]
    """A directive without content, whose output is in the language of its page."""

    @property
    def lang(self) -> Lang:
        """The language of the page."""
        return page_language(self.env.docname)

    def run(self) -> list[nodes.Node]:
        """Return the output; after an error of the ledger nothing, with a warning at the line."""
        try:
            return self.render()
        except OkmlError as error:
            warn(error, self.get_location(), self.name)
            return []

    @abstractmethod
    def render(self) -> list[nodes.Node]:
        """Return the directive's output.

        Raises:
            OkmlError: If the ledger lacks an entry that is shown, or cannot be read.
        """
