import math

import pytest
import torch

from okml.errors import ParameterError
from okml.seqrec.backbone import Backbone
from okml.seqrec.mixers import Context, Shape
from okml.seqrec.mixers.tisasrec import relative_intervals
from okml.seqrec.settings import BackboneSettings

from .common import NOTHING, heads_of, mixer_of, tokens_of

TIMES = [100, 100, 130, 190, 200, 200, 1000]


def interval(times: list[int], i: int, j: int, limit: int) -> int:
    gaps = [abs(a - b) for a in times for b in times if a != b]
    return min(abs(times[i] - times[j]) // min(gaps), limit) if gaps else 0


def test_intervals_by_hand():
    got = relative_intervals(torch.tensor([TIMES]), 50)[0]
    for i in range(7):
        for j in range(7):
            assert int(got[i, j]) == interval(TIMES, i, j, 50)
    assert got[4, 0] == 10  # 100 s; the smallest gap is 10 s
    assert got[6, 0] == 50


def test_intervals_of_equal_times_are_zero():
    assert relative_intervals(torch.full((2, 5), 9), 4).eq(0).all()


def test_intervals_are_whole_seconds_after_a_billion():
    at = 1_200_000_000
    got = relative_intervals(torch.tensor([[at, at + 1, at + 4]]), 9)[0]
    assert got[2].tolist() == [4, 3, 0]


@torch.no_grad()
def test_against_the_definition():
    mixer = mixer_of("tisasrec", Shape(9, 6, 2, False), intervals=20)
    tokens = tokens_of(1, 7, 6)
    q, k, v = (heads_of(f(tokens[0]), 2) for f in (mixer.query, mixer.key, mixer.value))
    key_interval, value_interval, key_position, value_position = (
        heads_of(table.weight, 2)
        for table in (
            mixer.key_interval,
            mixer.value_interval,
            mixer.key_position,
            mixer.value_position,
        )
    )
    mixed = torch.zeros(2, 7, 3).double()
    for h in range(2):
        for i in range(7):
            weights, values = [], []
            for j in range(7):
                r, place = interval(TIMES, i, j, 20), 9 - 7 + j
                key = k[h, j] + key_interval[h, r] + key_position[h, place]
                weights.append(math.exp(float(q[h, i] @ key) / math.sqrt(3)))
                values.append(v[h, j] + value_interval[h, r] + value_position[h, place])
            total = sum(weights)
            mixed[h, i] = sum(w / total * x for w, x in zip(weights, values, strict=True))
    want = mixer.output(torch.cat(list(mixed), -1))
    torch.testing.assert_close(mixer(tokens, Context(times=torch.tensor([TIMES])))[0], want)


def test_it_needs_times():
    mixer = mixer_of("tisasrec", Shape(9, 6, 2, False))
    with pytest.raises(ValueError, match="times"):
        mixer(tokens_of(1, 7, 6), NOTHING)
    with pytest.raises(ParameterError, match="times"):
        Backbone(5, BackboneSettings(mixer="tisasrec", causal=False))(torch.ones(1, 4).long())
