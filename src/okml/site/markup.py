"""HTML elements of the pages, by one docutils node for all of them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from docutils import nodes

Child: TypeAlias = nodes.Node | str


class element(nodes.General, nodes.TextElement):  # type: ignore[misc]  # noqa: N801
    """An HTML element: ``tag`` is its name, ``attrs`` its attributes."""


def visit_element(writer: Any, node: element) -> None:
    """Open the element; ids and classes come from the node itself."""
    writer.body.append(writer.starttag(node, node["tag"], "", **node["attrs"]))


def depart_element(writer: Any, node: element) -> None:
    """Close the element."""
    writer.body.append(f"</{node['tag']}>")


def tag(
    name: str,
    *children: Child | None,
    classes: Sequence[str] = (),
    ids: Sequence[str] = (),
    attrs: Mapping[str, str] | None = None,
) -> element:
    """Return an HTML element with ``children``; strings become text and None is left out."""
    node = element("", "", tag=name, attrs=dict(attrs or {}), classes=list(classes), ids=list(ids))
    node.extend(_as_nodes(children))
    return node


def paragraph(*children: Child | None) -> nodes.paragraph:
    """Return a paragraph of the text, which the description of a page may quote."""
    return nodes.paragraph("", "", *_as_nodes(children))


def _as_nodes(children: Iterable[Child | None]) -> list[nodes.Node]:
    return [nodes.Text(child) if isinstance(child, str) else child for child in children if child]


def abbreviation(text: str, title: str, classes: Sequence[str] = ()) -> element:
    """Return ``text`` with an explanation on hover and for screen readers."""
    return tag("abbr", text, classes=classes, attrs={"title": title})


def with_code(text: str) -> list[Child]:
    """Return a text with its parts in backticks as code."""
    parts = text.split("`")
    return [nodes.literal("", part) if n % 2 else part for n, part in enumerate(parts) if part]


def note(*children: Child | None, classes: Sequence[str] = ()) -> element:
    """Return secondary text, on a line of its own in small print."""
    return tag("span", *children, classes=["okml-note", *classes])


def missing(text: str) -> element:
    """Return a text that stands in the place of something missing."""
    return tag("span", text, classes=["okml-missing"])


def scrolling(label: str, *children: Child | None) -> element:
    """Return a scrollable box with a name, which the keyboard reaches."""
    attrs = {"role": "region", "aria-label": label, "tabindex": "0"}
    return tag("div", *children, classes=["okml-scroll"], attrs=attrs)


def scrolling_table(
    label: str,
    header: Iterable[str],
    rows: Iterable[element],
    *,
    sortable: Container[str] = (),
    choices: Mapping[str, str] | None = None,
    filters: str = "",
) -> element:
    """Return a table in a scrollable box, so that a narrow page scrolls only the table.

    Args:
        label: The caption of the table and the name of its box.
        header: The title of each column.
        rows: ``tr`` elements of :func:`row`.
        sortable: The titles of the columns that rows can be sorted by.
        choices: The labels of the choices in the filter bar, by the title of a column. The values
            of a choice are the ``data-facet`` of the column's cells; rows can be sorted by it, too.
        filters: The language of the filter bar, which a script fills; empty for no bar.
    """
    choices = choices or {}

    def heading(title: str) -> element:
        sort = {"data-sort": ""} if title in sortable or title in choices else {}
        choice = {"data-choice": choices[title]} if title in choices else {}
        return tag("th", title, attrs={"scope": "col", **sort, **choice})

    head = tag("tr", *map(heading, header))
    table = tag(
        "table",
        tag("caption", label),
        tag("thead", head),
        tag("tbody", *rows),
        classes=["table", "okml-table"],
        attrs={"data-filters": filters} if filters else {},
    )
    box = scrolling(label, table)
    if not filters:
        return box
    return tag("div", tag("div", classes=["okml-filters"]), box)  # the bar has its room at once


def row(
    head: Sequence[Child | None], *cells: Sequence[Child | None], ids: Sequence[str] = ()
) -> element:
    """Return a table row: a heading cell, then data cells; each is a list of children."""
    first = tag("th", *head, attrs={"scope": "row"})
    return tag("tr", first, *(tag("td", *cell) for cell in cells), ids=ids)


def definitions(pairs: Iterable[tuple[str, Sequence[Child | None]]]) -> element:
    """Return a list of terms with their definitions."""
    items = [part for term, said in pairs for part in (tag("dt", term), tag("dd", *said))]
    return tag("dl", *items, classes=["okml-facts"])
