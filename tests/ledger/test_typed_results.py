"""No page types a result: what is no recorded number says that it is a paper's or a setting."""

import json
from pathlib import Path

import pytest

from okml.ledger.quoting import typed_results
from okml.paths import repository_root


def words(path: Path) -> str:
    """Return the prose of a page; the tables of a digest are those of its paper."""
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    if path.parent.name == "digests":
        return "\n".join(line for line in text.splitlines() if not line.startswith("|"))
    return text


def pages() -> list[str]:
    root = repository_root()
    found = [*root.glob("book/**/*.md"), *root.glob("notebooks/*.ipynb")]
    return sorted(str(path.relative_to(root)) for path in found)


@pytest.mark.parametrize("page", pages())
def test_a_page_types_no_result(page):
    found = typed_results(words(repository_root() / page))
    assert found == [], "quote {measured}`chapter.metric@profile`, or mark {paper} or {setting}"
