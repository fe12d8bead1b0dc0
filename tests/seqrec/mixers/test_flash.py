import pytest
import torch

from okml.seqrec.backbone import Backbone
from okml.seqrec.mixers import Shape
from okml.seqrec.mixers.flash import BUCKETS, FURTHEST, distance_bucket
from okml.seqrec.settings import BackboneSettings

from .common import NOTHING, mixer_of, tokens_of


@torch.no_grad()
@pytest.mark.parametrize(("group", "n"), [(256, 7), (4, 11), (4, 12), (4, 3), (12, 40)])
def test_against_the_definition(group, n):
    mixer = mixer_of("flash", Shape(42, 6, 2, False), group=group, key_width=5)
    tokens = tokens_of(1, n, 6)
    silu = torch.nn.functional.silu
    v, gate = silu(mixer.value_gate(tokens[0])).split(12, -1)
    z = silu(mixer.shared(tokens[0]))
    q, k, q_linear, k_linear = (z * mixer.scale[c] + mixer.shift[c] for c in range(4))
    mixed = torch.zeros(n, 12).double()
    for i in range(n):
        for j in range(n):
            if (n - 1 - i) // group == (n - 1 - j) // group:  # counted from the newest
                bias = float(mixer.distance.weight[distance_bucket(torch.tensor(j - i))])
                mixed[i] += max(float(q[i] @ k[j]) / group + bias, 0.0) ** 2 * v[j]
            mixed[i] += float(q_linear[i] @ k_linear[j]) / 42 * v[j]
    want = mixer.output(gate * mixed)
    torch.testing.assert_close(mixer(tokens, NOTHING)[0], want)


@pytest.mark.slow
def test_buckets_are_those_of_t5():
    from transformers.models.t5.modeling_t5 import T5Attention

    distance = torch.arange(-300, 300)
    want = T5Attention._relative_position_bucket(distance, True, BUCKETS, FURTHEST)
    assert torch.equal(distance_bucket(distance), want)


def test_near_buckets_are_exact_and_far_ones_grow():
    found = distance_bucket(torch.tensor([0, -1, -7, -8, -127, -300, 1, 7, 8, 300])).tolist()
    assert found == [0, 1, 7, 8, 15, 15, 17, 23, 24, 31]


def test_two_units_have_about_the_parameters_of_a_transformer_layer():
    def size(**options) -> int:
        model = Backbone(1, BackboneSettings(width=256, causal=False, **options))
        return sum(p.numel() for p in model.layers.parameters())

    units = size(layers=2, hidden=None, mixer="flash")
    assert units == pytest.approx(size(layers=1, hidden=1024), rel=0.15)


def test_the_first_weights_are_small():
    torch.manual_seed(0)
    model = Backbone(1, BackboneSettings(hidden=None, mixer="flash", causal=False))
    scale = model.blocks[0].mixer.scale
    assert scale.std().item() == pytest.approx(0.02, rel=0.15)
