"""The places of claims do not depend on which reader was ready first."""

import pickle
from types import SimpleNamespace

import pytest

from okml.site.domain import CELL, ClaimDomain

PAGES = ["notebooks/a", "notebooks/b", "book/ru/notebooks/a"]
CLAIM = "strec.time"


def environment(data):
    return SimpleNamespace(domaindata={} if data is None else pickle.loads(data))


def read(data, page):
    """Return what a reader forked from a main process sends back, and the anchor on its page."""
    domain = ClaimDomain(environment(data))
    (anchor,) = domain.claim_place(CLAIM, CELL, page)
    assert domain.claim_place(CLAIM, CELL, page) == []  # the second mark on a page
    return domain.data, anchor


@pytest.mark.parametrize("order", [PAGES, PAGES[::-1]])
@pytest.mark.parametrize("forked_after_merging", [True, False])
def test_links_lead_to_the_first_page_and_each_page_has_its_anchor(order, forked_after_merging):
    main = ClaimDomain(environment(None))
    at_first = pickle.dumps(main.env.domaindata)
    for page in order:
        seen = pickle.dumps(main.env.domaindata) if forked_after_merging else at_first
        found, anchor = read(seen, page)
        assert anchor == "cell-strec-time"
        main.merge_domaindata({page}, found)
    places = {key[2]: pages for key, pages in main.places.items()}
    assert places == {"en": {"notebooks/a", "notebooks/b"}, "ru": {"book/ru/notebooks/a"}}
    assert list(main.get_objects()) == [(CLAIM, CLAIM, "claim", "notebooks/a", anchor, 1)]
    main.clear_doc("notebooks/a")  # the other page is still known
    assert list(main.get_objects()) == [(CLAIM, CLAIM, "claim", "notebooks/b", anchor, 1)]
    for page in PAGES:
        main.clear_doc(page)
    assert main.places == {}
