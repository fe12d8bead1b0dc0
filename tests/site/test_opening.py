"""The opening of a notebook's page: verdicts on its claims, and what recorded runs took."""


def facts(page):
    terms = page.select_one(".okml-opening").find_all("dt")
    return {dt.get_text(): dt.find_next("dd").get_text(" ", strip=True) for dt in terms}


def test_a_notebook_opens_with_the_verdicts_on_its_claims_and_what_runs_took(built):
    page = built.page("notebooks/space_time")
    assert facts(page) == {
        "Verdicts on the claims below": "1 direction holds",  # of three claims it tests one
        "A recorded run took": "smoke 5 min, 1.5 GiB, 2 cores; cpu 5 min, 1.5 GiB, 2 cores",
    }


def test_the_opening_stands_after_the_introduction(book):
    book.write("notebooks/space_time.md", "# Walk\n\nWhat it is.\n\n## The map\n\nHere.\n")
    book.build()
    section = book.page("notebooks/space_time").find("section")
    kinds = [
        " ".join(child.get("class", [])) or child.name
        for child in section.find_all(recursive=False)
    ]
    assert kinds[:5] == ["h1", "p", "okml-opening", "okml-banner", "section"]


def test_a_page_without_claims_and_records_says_so(book):
    book.write("notebooks/strec.md", "# Walk\n\nWords alone.\n")
    book.build()
    assert set(facts(book.page("notebooks/strec")).values()) == {"—"}
