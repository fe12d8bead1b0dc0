import math

import pytest
import torch

from okml.seqrec.mixers import Shape

from .common import NOTHING, heads_of, mixer_of, tokens_of


def attend(q, seen_by, v):
    """Shared-query attention of one head, by loops: the sums and what they are divided by."""
    n, width = q.shape
    mixed, total = torch.zeros(n, width).double(), torch.zeros(n).double()
    for i in range(n):
        for j in seen_by(i):
            logit = -5e4 if i == j else float(q[i] @ (q[j] / q[j].norm())) / math.sqrt(width)
            mixed[i] += math.exp(logit) * v[j]
            total[i] += math.exp(logit)
    return mixed, total


@torch.no_grad()
@pytest.mark.parametrize("n", [14, 11])
def test_against_the_definition(n):
    mixer = mixer_of("reformer", Shape(14, 6, 2, False), size=2, rounds=3)
    tokens = tokens_of(1, n, 6)
    q, v = heads_of(mixer.query_key(tokens[0]), 2), heads_of(mixer.value(tokens[0]), 2)
    out = torch.zeros(2, n, 3).double()
    for h in range(2):
        mixed, total = torch.zeros(n, 3).double(), torch.zeros(n).double()
        for r in range(3):
            turned = q[h] @ mixer.rotations[r]  # [n, buckets / 2], 8 buckets of about two
            assert turned.shape == (n, 4)
            bucket = [max(range(8), key=lambda c: [*t, *(-t)][c]) for t in turned]
            order = sorted(range(n), key=lambda i: (bucket[i], i))
            chunk = {i: slot // 2 for slot, i in enumerate(order)}
            assert len(set(bucket)) > 2

            def seen(i, chunk=chunk):
                return [j for j in range(n) if chunk[i] - chunk[j] in (0, 1)]

            # A round weighs as much as the sum of its exponentials, so all rounds add up.
            one, weight = attend(q[h], seen, v[h])
            mixed, total = mixed + one, total + weight
        out[h] = mixed / total[:, None]
    want = mixer.output(torch.cat(list(out), -1))
    torch.testing.assert_close(mixer(tokens, NOTHING)[0], want)


@torch.no_grad()
def test_one_chunk_is_full_attention_with_shared_queries():
    mixer = mixer_of("reformer", Shape(11, 12, 3, False), size=16)
    tokens = tokens_of(2, 11, 12)
    q = torch.stack([heads_of(x, 3) for x in mixer.query_key(tokens)])
    v = torch.stack([heads_of(x, 3) for x in mixer.value(tokens)])
    logits = q @ torch.nn.functional.normalize(q, dim=-1).transpose(-1, -2) / 2
    logits.diagonal(dim1=-2, dim2=-1).fill_(-5e4)
    mixed = logits.softmax(-1) @ v
    want = mixer.output(mixed.transpose(1, 2).flatten(2))
    torch.testing.assert_close(mixer(tokens, NOTHING), want)


def test_like_vectors_share_buckets():
    mixer = mixer_of("reformer", Shape(64, 8, 1, False), size=4, rounds=64)
    x = tokens_of(1, 40, 8)[:, None]  # [b, h, n, d_h]
    near, far = x + 0.1 * tokens_of(1, 40, 8, seed=5)[:, None], -x
    bucket = mixer.buckets(x)
    assert bucket.shape == (1, 1, 64, 40)
    assert bucket.min() >= 0
    assert bucket.max() < 16
    assert (bucket == mixer.buckets(near)).float().mean() > 0.6
    assert not (bucket == mixer.buckets(far)).any()
    assert torch.equal(bucket, mixer.buckets(3 * x))


def test_training_hashes_anew():
    mixer = mixer_of("reformer", Shape(50, 6, 2, False)).train()
    q = tokens_of(1, 50, 3)[:, None]
    assert not torch.equal(mixer.buckets(q), mixer.buckets(q))
