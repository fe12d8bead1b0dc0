import math

import pytest
import torch

from okml.seqrec.mixers import Context, ReformerSettings, Shape

from .common import NOTHING, heads_of, mixer_of, padding_of, tokens_of


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
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("n", [14, 11])
def test_against_the_definition(masked, n):
    settings = ReformerSettings(bucket_size=2, rounds=3, masked=masked)
    mixer = mixer_of(settings, Shape(14, 6, 2, False))
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
                near = [j for j in range(n) if chunk[i] - chunk[j] in (0, 1)]
                return [j for j in near if not masked or j <= i]

            # A round weighs as much as the sum of its exponentials, so all rounds add up.
            one, weight = attend(q[h], seen, v[h])
            alone = weight == 0  # exp(-5e4): only the token itself was seen
            mixed, total = mixed + one, total + weight
            if alone.any():
                assert masked
        lonely = total == 0
        out[h] = torch.where(lonely[:, None], v[h], mixed / total.clamp_min(1e-300)[:, None])
    want = mixer.output(torch.cat(list(out), -1))
    torch.testing.assert_close(mixer(tokens, NOTHING)[0], want)


@torch.no_grad()
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("side", ["left", "right"])
def test_one_chunk_is_full_attention_with_shared_queries(masked, side):
    mixer = mixer_of(ReformerSettings(bucket_size=16, masked=masked), Shape(11, 12, 3, False))
    tokens, padding = tokens_of(2, 11, 12), padding_of([11, 6], 11, side)
    q = torch.stack([heads_of(x, 3) for x in mixer.query_key(tokens)])
    v = torch.stack([heads_of(x, 3) for x in mixer.value(tokens)])
    logits = q @ torch.nn.functional.normalize(q, dim=-1).transpose(-1, -2) / 2
    logits.diagonal(dim1=-2, dim2=-1).fill_(-5e4)
    hidden = padding[:, None, None].expand(-1, 1, 11, -1) & ~torch.eye(11).bool()
    if masked:
        hidden = hidden | torch.ones(11, 11).bool().triu(1)
    mixed = logits.masked_fill(hidden, -torch.inf).softmax(-1) @ v
    want = mixer.output(mixed.transpose(1, 2).flatten(2))
    got = mixer(tokens, Context(padding, side))
    torch.testing.assert_close(got[~padding], want[~padding])


def test_like_vectors_share_buckets():
    mixer = mixer_of(ReformerSettings(bucket_size=4, rounds=64), Shape(64, 8, 1, False))
    x = tokens_of(1, 40, 8)[:, None]  # [b, h, n, d_h]
    near, far = x + 0.1 * tokens_of(1, 40, 8, seed=5)[:, None], -x
    bucket = mixer.buckets(x)
    assert bucket.shape == (1, 1, 64, 40)
    assert bucket.min() >= 0
    assert bucket.max() < 16
    assert (bucket == mixer.buckets(near)).float().mean() > 0.6
    assert not (bucket == mixer.buckets(far)).any()
    assert torch.equal(bucket, mixer.buckets(3 * x))


@torch.no_grad()
def test_the_masked_form_leaks_through_the_chunks():
    # Why the mixer does not count as causal: one chunk leaks nothing, several do.
    for size, leaks in ((32, False), (4, True)):
        settings = ReformerSettings(bucket_size=size, masked=True)
        mixer = mixer_of(settings, Shape(32, 12, 3, False))
        tokens = tokens_of(2, 32, 12)
        changed = torch.cat([tokens[:, :16], tokens_of(2, 16, 12, seed=4)], 1)
        before, after = mixer(tokens, NOTHING), mixer(changed, NOTHING)
        assert torch.allclose(before[:, :16], after[:, :16]) != leaks


def test_training_hashes_anew():
    mixer = mixer_of(ReformerSettings(), Shape(50, 6, 2, False)).train()
    q = tokens_of(1, 50, 3)[:, None]
    assert not torch.equal(mixer.buckets(q), mixer.buckets(q))
