import math

import pytest
import torch
from transformers import MambaConfig

from okml.seqrec.backbone import Backbone
from okml.seqrec.mixers import Shape
from okml.seqrec.mixers.mamba import scan
from okml.seqrec.settings import BackboneSettings

from .common import NOTHING, mixer_of, tokens_of


@pytest.mark.parametrize("n", [1, 2, 3, 8, 50])
def test_doubling_equals_the_recurrence_step_by_step(n):
    decay, inflow = torch.rand(2, 2, n, 3, dtype=torch.float64)
    state = torch.zeros(2, 3, dtype=torch.float64)
    want = []
    for t in range(n):
        state = decay[:, t] * state + inflow[:, t]
        want.append(state)
    torch.testing.assert_close(scan(decay, inflow), torch.stack(want, 1))


@torch.no_grad()
def test_against_the_definition():
    mixer = mixer_of("mamba", Shape(9, 20, 2, True), state=3, convolution=4)
    tokens, e, n = tokens_of(1, 7, 20), 40, 7
    x, gate = mixer.inner(tokens[0]).split(e, -1)
    kernel = mixer.convolution.weight[:, 0]  # [e, 4]; its last column meets the token itself
    silu = torch.nn.functional.silu
    mixed = torch.stack(
        [sum(kernel[:, 3 - back] * x[t - back] for back in range(min(t, 3) + 1)) for t in range(n)]
    )
    x = silu(mixed + mixer.convolution.bias)
    state, outs = torch.zeros(e, 3).double(), []
    for t in range(n):
        low, write, read = mixer.selection(x[t]).split([2, 3, 3])  # 20 / 16, rounded up
        step = [math.log1p(math.exp(s)) for s in mixer.step(low).tolist()]
        y = mixer.skip * x[t]
        for c in range(e):
            for s in range(3):
                decay = math.exp(-step[c] * math.exp(mixer.log_decay[c, s]))
                state[c, s] = decay * state[c, s] + step[c] * write[s] * x[t, c]
                y[c] += read[s] * state[c, s]
        outs.append(mixer.output(y * silu(gate[t])))
    torch.testing.assert_close(mixer(tokens, NOTHING)[0], torch.stack(outs))


def test_first_steps_lie_between_a_thousandth_and_a_tenth():
    torch.manual_seed(0)
    mixer = Backbone(3, BackboneSettings(mixer="mamba")).blocks[0].mixer
    step = torch.nn.functional.softplus(mixer.step.bias)
    assert 1e-3 <= step.min() < 2e-3
    assert 0.05 < step.max() <= 0.1 + 1e-6
    assert mixer.convolution.kernel_size == (MambaConfig().conv_kernel,)  # of Gu and Dao
    assert mixer.log_decay[5].exp().tolist() == pytest.approx(range(1, 33))
