import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from okml.errors import ParameterError
from okml.video_workshop.items.shared_rows import learned_pieces

SIZE, LEVELS = 3, 3
EVERY = list(itertools.product(range(SIZE), repeat=LEVELS))


def table(*tuples):
    """Return codes of all items, with a row of padding."""
    return torch.tensor([(0,) * len(tuples[0]), *tuples])


def pieces(*tuples, counts, rows, size=SIZE):
    return learned_pieces(table(*tuples), size, np.array([0, *counts]), rows)


def test_a_frequent_pair_becomes_a_piece_and_a_rare_one_does_not():
    # Two merges fit beside the nine codes. Codes 0 1 stand together in three readings of the first
    # item and one of the second, codes 1 2 in the three of the first.
    tuples = ((0, 1, 2), (0, 1, 0), (1, 0, 1))
    places, rows = pieces(*tuples, counts=(7, 1, 1), rows=11)
    assert rows == 11
    # A code of level l is row 1 + 3 l + code; 10 is 0 1 and 11 is 0 1 2.
    assert places.tolist() == [[0, 0, 0], [11, 0, 0], [10, 7, 0], [2, 4, 8]]


def test_codes_of_other_levels_are_other_letters():
    # 0 1 is frequent at levels 1 and 2; at levels 2 and 3 the same numbers are not that piece.
    places, _ = pieces((0, 1, 0), (0, 1, 2), (2, 0, 1), counts=(3, 3, 1), rows=10)
    assert places[:, 0].tolist() == [0, 10, 10, 3]
    assert places[3].tolist() == [3, 4, 8]


def test_what_is_watched_more_decides():
    for counts, joined in (((100, 1, 1), 1), ((1, 1, 100), 3)):
        places, _ = pieces((0, 0, 0), (1, 1, 1), (2, 2, 2), counts=counts, rows=11)
        assert ((places > 0).sum(1) == 1).nonzero()[:, 0].tolist() == [joined]


@given(st.lists(st.integers(0, 40), min_size=len(EVERY), max_size=len(EVERY)), st.integers(9, 40))
@settings(deadline=None)
def test_every_tuple_is_covered_seen_or_not_within_the_rows(counts, budget):
    places, rows = pieces(*EVERY, counts=counts, rows=budget)
    assert SIZE * LEVELS <= rows <= budget
    assert (places[0] == 0).all()
    assert places.max() <= rows
    assert (places[1:, 0] > 0).all()
    # Pieces cover the tuple: two tuples of equal pieces would be one.
    assert len(places[1:].unique(dim=0)) == len(EVERY)


@given(st.data())
@settings(deadline=None)
def test_pieces_are_those_of_greedy_merges(data):
    tuples = data.draw(st.lists(st.sampled_from(EVERY), min_size=1, max_size=12))
    counts = data.draw(st.lists(st.integers(0, 9), min_size=len(tuples), max_size=len(tuples)))
    budget = data.draw(st.integers(9, 25))
    places, rows = pieces(*tuples, counts=counts, rows=budget)
    vocabulary, wanted = greedy_merges(tuples, counts, budget)
    assert rows == len(vocabulary)
    found = [[vocabulary[place - 1] for place in row if place] for row in places[1:].tolist()]
    assert found == wanted


def greedy_merges(tuples, counts, budget):
    """Return pieces and the readings of all tuples: the plainest byte-pair encoding."""
    vocabulary = [((level, code),) for level in range(LEVELS) for code in range(SIZE)]
    number = {piece: place for place, piece in enumerate(vocabulary)}
    words = [[(letter,) for letter in enumerate(word)] for word in tuples]
    times = [int(np.ceil(np.log2(1 + count))) for count in counts]
    while len(vocabulary) < budget:
        pairs = Counter()
        for word, often in zip(words, times, strict=True):
            for pair in itertools.pairwise(word):
                pairs[pair] += often
        if not pairs or max(pairs.values()) == 0:
            break
        # Of equally frequent pairs the one of the older pieces.
        best = min(pairs, key=lambda p: (-pairs[p], number[p[0]], number[p[1]]))
        joined = best[0] + best[1]
        if joined not in number:
            number[joined] = len(vocabulary)
            vocabulary.append(joined)
        words = [merged(word, best) for word in words]
    return vocabulary, words


def merged(word, pair):
    done, rest = [], list(word)
    while rest:
        if tuple(rest[:2]) == pair:
            done.append(rest.pop(0) + rest.pop(0))
        else:
            done.append(rest.pop(0))
    return done


def test_items_without_events_shape_no_piece():
    known = [(0, 1, 2), (0, 1, 1), (2, 2, 0)]
    first = pieces(*known, (1, 1, 1), (1, 1, 1), counts=(5, 4, 3, 0, 0), rows=13)
    other = pieces(*known, (2, 0, 2), (0, 1, 2), counts=(5, 4, 3, 0, 0), rows=13)
    assert first[1] == other[1]
    assert first[0][1:4].tolist() == other[0][1:4].tolist()
    assert other[0][5].tolist() == other[0][1].tolist()  # a new item of a known tuple


def test_fewer_rows_than_codes():
    with pytest.raises(ParameterError, match="3 levels of 3 codes do not fit 8 rows"):
        pieces((0, 1, 2), counts=(1,), rows=8)
