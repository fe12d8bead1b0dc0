import math

import pytest
import torch

from okml.seqrec.mixers import Attention, Context, Shape


def attention(causal: bool, length: int = 7) -> Attention:
    torch.manual_seed(1)
    return Attention(Shape(length, 12, 3, causal)).double().eval()


def by_loops(mixer: Attention, tokens, causal, padding, bias):
    """Attention by its definition, one number at a time."""
    b, n, d = tokens.shape
    heads, width = mixer.shape.heads, mixer.shape.head_width
    q, k, v = mixer.query(tokens), mixer.key(tokens), mixer.value(tokens)
    mixed = torch.zeros(b, n, d, dtype=tokens.dtype)
    for s in range(b):
        for h in range(heads):
            part = slice(h * width, (h + 1) * width)
            for i in range(n):
                seen = [
                    j
                    for j in range(n)
                    if (not causal or j <= i) and not (padding is not None and padding[s, j])
                ]
                if not seen:
                    continue  # a padded token: its output is not defined
                logits = [
                    float(q[s, i, part] @ k[s, j, part]) / math.sqrt(width)
                    + (0.0 if bias is None else float(bias[s, j]))
                    for j in seen
                ]
                total = sum(math.exp(x) for x in logits)
                for x, j in zip(logits, seen, strict=True):
                    mixed[s, i, part] += math.exp(x) / total * v[s, j, part]
    return mixer.output(mixed)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("side", [None, "left", "right"])
@pytest.mark.parametrize("biased", [True, False])
@torch.no_grad()
def test_against_the_definition(causal, side, biased):
    mixer = attention(causal)
    tokens = torch.randn(2, 7, 12, dtype=torch.float64)
    padding = None
    if side is not None:
        padding = torch.zeros(2, 7, dtype=torch.bool)
        if side == "left":
            padding[0, :3] = True
        else:
            padding[0, 4:] = True
    bias = torch.randn(2, 7, dtype=torch.float64) if biased else None
    context = Context(padding, side or "left", key_bias=bias)
    got, want = mixer(tokens, context), by_loops(mixer, tokens, causal, padding, bias)
    real = torch.ones(2, 7, dtype=torch.bool) if padding is None else ~padding
    torch.testing.assert_close(got[real], want[real])


@pytest.mark.parametrize("causal", [True, False])
def test_weights_are_those_of_the_fused_kernel(causal):
    mixer = attention(causal)
    tokens = torch.randn(2, 7, 12, dtype=torch.float64)
    weights = mixer.weights(tokens, Context())
    mixed = weights @ mixer.heads(mixer.value(tokens))
    torch.testing.assert_close(
        mixer.output(mixed.transpose(1, 2).flatten(2)), mixer(tokens, Context())
    )
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 7, dtype=torch.float64))


def test_queries_read_all_tokens():
    mixer = attention(causal=False)
    tokens = torch.randn(2, 7, 12, dtype=torch.float64)
    some = mixer(tokens, Context(), tokens[:, [5, 2]])
    torch.testing.assert_close(some, mixer(tokens, Context())[:, [5, 2]])


def test_flops_are_those_that_pytorch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    mixer = attention(causal=False).float()
    tokens = torch.randn(1, 7, 12)
    with FlopCounterMode(display=False) as counter:
        mixer.weights(tokens, Context()) @ mixer.heads(mixer.value(tokens))
        mixer.output(tokens)
    assert mixer.flops(7, 7) == counter.get_total_flops()
