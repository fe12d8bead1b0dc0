import pytest
import torch

from okml.seqrec.backbone import Backbone
from okml.seqrec.mixers import FLASHSettings, Shape
from okml.seqrec.mixers.flash import distance_bucket
from okml.seqrec.settings import BackboneSettings

from .common import NOTHING, mixer_of, tokens_of


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("group", "n"), [(256, 7), (4, 11), (4, 12), (4, 3)])
def test_against_the_definition(causal, group, n):
    settings = FLASHSettings(group=group, key_width=5, buckets=8, furthest=16)
    mixer = mixer_of(settings, Shape(12, 6, 2, causal))
    tokens = tokens_of(1, n, 6)
    silu = torch.nn.functional.silu
    v, gate = silu(mixer.value_gate(tokens[0])).split(12, -1)
    z = silu(mixer.shared(tokens[0]))
    q, k, q_linear, k_linear = (z * mixer.scale[c] + mixer.shift[c] for c in range(4))
    mixed = torch.zeros(n, 12).double()
    for i in range(n):
        for j in range(n):
            group_i, group_j = (n - 1 - i) // group, (n - 1 - j) // group  # from the newest
            if group_i == group_j and (j <= i or not causal):
                bucket = distance_bucket(torch.tensor(j - i), causal, 8, 16)
                weight = float(q[i] @ k[j]) / group + float(mixer.distance.weight[bucket])
                mixed[i] += max(weight, 0.0) ** 2 * v[j]
            if group_j > group_i or not causal:
                mixed[i] += float(q_linear[i] @ k_linear[j]) / 12 * v[j]
    want = mixer.output(gate * mixed)
    torch.testing.assert_close(mixer(tokens, NOTHING)[0], want)


@pytest.mark.slow
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("buckets", "furthest"), [(32, 128), (16, 64)])
def test_buckets_are_those_of_t5(causal, buckets, furthest):
    from transformers.models.t5.modeling_t5 import T5Attention

    distance = torch.arange(-300, 300)
    want = T5Attention._relative_position_bucket(distance, not causal, buckets, furthest)
    assert torch.equal(distance_bucket(distance, causal, buckets, furthest), want)


def test_two_units_have_about_the_parameters_of_a_transformer_layer():
    def size(**options) -> int:
        model = Backbone(1, BackboneSettings(width=256, **options))
        return sum(p.numel() for p in model.layers.parameters())

    units = size(layers=2, hidden=None, mixer=FLASHSettings())
    assert units == pytest.approx(size(layers=1, hidden=1024), rel=0.15)


def test_the_first_weights_are_small():
    torch.manual_seed(0)
    model = Backbone(1, BackboneSettings(hidden=None, mixer=FLASHSettings()))
    scale = model.blocks[0].mixer.scale
    assert scale.std().item() == pytest.approx(0.02, rel=0.15)
