import math

import pytest
import torch

from okml.seqrec.mixers import Attention, Shape

from .common import NOTHING, heads_of, mixer_of, tokens_of


@torch.no_grad()
@pytest.mark.parametrize("n", [6, 70])
def test_against_the_square_form_by_loops(n):
    mixer = mixer_of("performer", Shape(70, 6, 2, False), features=5)
    tokens = tokens_of(1, n, 6)
    q, k, v = (heads_of(f(tokens[0]), 2) for f in (mixer.query, mixer.key, mixer.value))

    def features(x):
        x = x / 3**0.25
        return (mixer.directions @ x - x @ x / 2).exp() / math.sqrt(5)

    mixed = torch.zeros(2, n, 3).double()
    for h in range(2):
        a, b = [features(x) for x in q[h]], [features(x) for x in k[h]]
        for i in range(n):
            weights = [float(a[i] @ b[j]) for j in range(n)]
            mixed[h, i] = sum(w * v[h, j] for j, w in enumerate(weights)) / sum(weights)
    want = mixer.output(torch.cat(list(mixed), -1))
    torch.testing.assert_close(mixer(tokens, NOTHING)[0], want)


def errors(features: int) -> float:
    """Root mean square distance from softmax attention, relative to its own size."""
    mixer = mixer_of("performer", Shape(30, 16, 2, False), features=features, std=0.1)
    attention = Attention(mixer.shape).double().eval()
    attention.load_state_dict(mixer.state_dict(), strict=False)
    tokens = tokens_of(4, 30, 16)
    want = attention(tokens, NOTHING)
    return float((mixer(tokens, NOTHING) - want).square().mean().sqrt() / want.std())


@torch.no_grad()
def test_many_features_approach_softmax_attention():
    few, many = errors(16), errors(16384)
    assert many < 0.02
    # At best the error falls with the root of the number, here 32; the tails are heavy.
    assert many < few / 5


def test_directions_are_orthogonal_in_groups_and_as_long_as_normals():
    mixer = mixer_of("performer", Shape(8, 16, 2, False), features=4096)
    w = mixer.directions.view(-1, 8, 8)
    products = w @ w.transpose(1, 2)
    off = products - torch.diag_embed(products.diagonal(dim1=1, dim2=2))
    assert off.abs().max() < 1e-4
    # 512 groups: each entry has the mean 0, with a standard error of 0.044
    assert w.mean(0).abs().max() < 0.2
    # the squared norm of 8 standard normals has the mean 8 and the variance 16
    squares = w.square().sum(-1)
    assert squares.mean() == pytest.approx(8, abs=0.3)
    assert squares.var() == pytest.approx(16, rel=0.15)


def test_large_vectors_overflow_nothing():
    mixer = mixer_of("performer", Shape(20, 16, 2, False)).float()
    for size in (1e-3, 30.0, 300.0):
        tokens = (tokens_of(2, 20, 16) * size).float().requires_grad_()
        out = mixer(tokens, NOTHING)
        out.sum().backward()
        assert out.isfinite().all()
        assert tokens.grad.isfinite().all()
