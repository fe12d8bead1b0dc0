import torch

from okml.video_workshop.items.code_quality import busiest, interests
from tests.video_workshop.users_tiny import ITEMS, watched


def test_liked_items_are_grouped_by_their_first_code():
    log = watched()
    user = busiest(log)
    codes = torch.stack([torch.arange(ITEMS + 1) % 2, torch.arange(ITEMS + 1)], 1)
    events = log.interactions
    mine = events.users() == user
    liked = [int(events.item_ids[int(i) - 1]) for i in events.items[mine & log.liked]]
    found = interests(log, codes, user)
    # Even items are liked, so all of them share the first code of even numbers of items.
    assert found["liked"].sum() == len(liked)
    alone = interests(log, codes, user, shared=2)
    assert len(alone) == len(set(liked))
    assert alone["named by"].str.starts_with("genre").all()
    counts = [int((log.liked & (events.users() == other)).sum()) for other in range(20)]
    assert counts[user] == max(counts)
