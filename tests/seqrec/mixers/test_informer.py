import math

import pytest
import torch

from okml.seqrec.mixers import Attention, AttentionSettings, InformerSettings, Shape

from .common import NOTHING, heads_of, mixer_of, tokens_of


@torch.no_grad()
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("n", [50, 23])
def test_against_the_definition(masked, n):
    mixer = mixer_of(InformerSettings(masked=masked), Shape(50, 6, 2, False))
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
            seen = range(i + 1 if masked else n)
            if i in chosen:
                weights = [math.exp(float(q[h, i] @ k[h, j]) / math.sqrt(3)) for j in seen]
                mixed[h, i] = sum(w * v[h, j] for j, w in enumerate(weights)) / sum(weights)
            else:
                mixed[h, i] = sum(v[h, j] for j in seen) / (1 if masked else n)
    want = mixer.output(torch.cat(list(mixed), -1))
    torch.testing.assert_close(mixer(tokens, NOTHING)[0], want)


@torch.no_grad()
@pytest.mark.parametrize("masked", [True, False])
def test_with_eight_tokens_it_is_full_attention(masked):
    mixer = mixer_of(InformerSettings(masked=masked), Shape(8, 12, 3, False))
    attention = Attention(AttentionSettings(), Shape(8, 12, 3, causal=masked)).double().eval()
    attention.load_state_dict(mixer.state_dict(), strict=False)
    tokens = tokens_of(4, 8, 12)
    torch.testing.assert_close(mixer(tokens, NOTHING), attention(tokens, NOTHING))


@torch.no_grad()
def test_the_masked_form_leaks_through_the_choice_of_queries():
    # Why the mixer does not count as causal: with 8 tokens nothing leaks, with 50 something does.
    for n, leaks in ((8, False), (50, True)):
        mixer = mixer_of(InformerSettings(masked=True), Shape(n, 12, 3, False))
        tokens = tokens_of(2, n, 12)
        changed = tokens.clone()
        changed[:, n // 2 :] *= 5
        before, after = mixer(tokens, NOTHING), mixer(changed, NOTHING)
        assert torch.allclose(before[:, : n // 2], after[:, : n // 2]) != leaks


def test_training_samples_anew_and_evaluation_does_not():
    mixer = mixer_of(InformerSettings(), Shape(50, 6, 2, False))
    assert torch.equal(mixer.sampled_keys(50), mixer.sampled_keys(50))
    mixer.train()
    assert not torch.equal(mixer.sampled_keys(50), mixer.sampled_keys(50))


def test_all_keys_are_sampled_alike():
    mixer = mixer_of(InformerSettings(factor=100), Shape(50, 6, 2, False))
    counts = torch.bincount(mixer.sampled_keys(50).flatten(), minlength=50)
    assert len(counts) == 50
    # 2500 draws, 50 expected a key with a standard deviation of 7
    assert counts.min() > 20
    assert counts.max() < 80
