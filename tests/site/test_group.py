"""The pages of the reading group: names in Russian are said to be so, for those who hear a page."""

import re
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "book/group").glob("*.md"))
CYRILLIC = re.compile("[а-яё]", re.IGNORECASE)


@pytest.fixture
def pages(book):
    for path in PAGES:
        text = re.sub(r"\[(\w+)\]\(\.\./digests/\w+\.md\)", r"\1", path.read_text("utf-8"))
        book.write(f"book/group/{path.name}", text)
    book.build()
    assert book.warnings == ""
    return [book.page(f"book/group/{path.stem}") for path in PAGES]


def test_what_is_russian_says_so(pages):
    russian = [
        text for page in pages for text in page.select_one("div.body").find_all(string=CYRILLIC)
    ]
    assert len(russian) > 25
    assert [text for text in russian if not text.find_parent(lang="ru")] == []
