import math

import pytest
import torch

from okml.seqrec.mixers import Attention, Shape

from .common import NOTHING, heads_of, mixer_of, tokens_of


@torch.no_grad()
@pytest.mark.parametrize("n", [50, 23])
def test_against_the_definition(n):
    mixer = mixer_of("informer", Shape(50, 6, 2, False))
    tokens = tokens_of(1, n, 6)
    some = 5 * math.ceil(math.log(n))
    assert some == 20
    sampled = mixer.sampled_keys(n)
    assert sampled.shape == (n, some)
    q, k, v = (heads_of(f(tokens[0]), 2) for f in (mixer.query, mixer.key, mixer.value))
    mixed = torch.zeros(2, n, 3).double()
    for h in range(2):
        peaked = []
        for i in range(n):
            logits = [float(q[h, i] @ k[h, j]) for j in sampled[i].tolist()]
            peaked.append(max(logits) - sum(logits) / n)
        chosen = sorted(range(n), key=lambda i: -peaked[i])[:some]
        for i in range(n):
            if i in chosen:
                weights = [math.exp(float(q[h, i] @ k[h, j]) / math.sqrt(3)) for j in range(n)]
                mixed[h, i] = sum(w * v[h, j] for j, w in enumerate(weights)) / sum(weights)
            else:
                mixed[h, i] = sum(v[h, j] for j in range(n)) / n
    want = mixer.output(torch.cat(list(mixed), -1))
    torch.testing.assert_close(mixer(tokens, NOTHING)[0], want)


@torch.no_grad()
def test_with_eight_tokens_it_is_full_attention():
    mixer = mixer_of("informer", Shape(8, 12, 3, False))
    attention = Attention(Shape(8, 12, 3, causal=False)).double().eval()
    attention.load_state_dict(mixer.state_dict(), strict=False)
    tokens = tokens_of(4, 8, 12)
    torch.testing.assert_close(mixer(tokens, NOTHING), attention(tokens, NOTHING))


def test_training_samples_anew_and_evaluation_does_not():
    mixer = mixer_of("informer", Shape(50, 6, 2, False))
    assert torch.equal(mixer.sampled_keys(50), mixer.sampled_keys(50))
    mixer.train()
    assert not torch.equal(mixer.sampled_keys(50), mixer.sampled_keys(50))


def test_all_keys_are_sampled_alike():
    mixer = mixer_of("informer", Shape(50, 6, 2, False), factor=100)
    counts = torch.bincount(mixer.sampled_keys(50).flatten(), minlength=50)
    assert len(counts) == 50
    # 2500 draws, 50 expected a key with a standard deviation of 7
    assert counts.min() > 20
    assert counts.max() < 80
