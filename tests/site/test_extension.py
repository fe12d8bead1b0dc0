"""What is read before Sphinx forks the processes that make the pages."""

import pytest

from okml.errors import RecordError
from okml.site import extension, view
from tests.site.conftest import CLAIMS


def test_the_rows_of_claims_are_there_for_all_processes(book, monkeypatch):
    extension.read_ahead(None)
    monkeypatch.setattr(view, "chapter_rows", lambda chapter: pytest.fail("It is read again."))
    assert [row.claim for row in view.rows("space_time")] == CLAIMS


def test_a_record_that_cannot_be_read_is_left_to_the_pages_that_show_it(book):
    (book.root / "root/results/space_time/cpu.json").write_text("{")
    extension.read_ahead(None)
    with pytest.raises(RecordError):
        view.rows("space_time")
