import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from okml.seqrec.dropout import Dropout
from tests.device import GPU


@given(st.lists(st.integers(1, 7), min_size=1, max_size=3), st.sampled_from([0.1, 0.2, 0.5]))
def test_elements_are_zero_or_scaled_whatever_the_shape(shape, p):
    x = torch.randn(shape)
    y = Dropout(p)(x)
    kept = y != 0
    scale = 256 / (256 - round(256 * p))
    torch.testing.assert_close(y[kept], x[kept] * scale)
    assert y.shape == x.shape


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5])
def test_the_share_of_zeros_is_p_and_neighbors_are_independent(p):
    torch.manual_seed(0)
    zeros = Dropout(p)(torch.ones(200_000)) == 0
    used = round(256 * p) / 256
    assert abs(used - p) <= 1 / 512
    assert binomtest(int(zeros.sum()), len(zeros), used).pvalue > 0.001
    for lag in (1, 4, 8):
        both = int((zeros[lag:] & zeros[:-lag]).sum())
        assert binomtest(both, len(zeros) - lag, used**2).pvalue > 0.001


def test_the_mean_is_kept():
    torch.manual_seed(0)
    assert Dropout(0.3)(torch.ones(400_000)).mean().item() == pytest.approx(1, abs=0.005)


def test_gradients_pass_where_elements_did():
    torch.manual_seed(0)
    x = torch.ones(1000, requires_grad=True)
    y = Dropout(0.5)(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach())


def test_nothing_happens_at_evaluation_or_without_dropout():
    x = torch.randn(5)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_the_draws_are_those_of_torchs_generator():
    state = torch.get_rng_state()
    first = Dropout(0.5)(torch.ones(100))
    torch.set_rng_state(state)
    assert torch.equal(Dropout(0.5)(torch.ones(100)), first)


@pytest.mark.gpu
def test_on_a_gpu_it_is_pytorchs():
    x = torch.ones(1000, device=GPU)
    torch.manual_seed(0)
    expected = torch.nn.functional.dropout(x, 0.5)
    torch.manual_seed(0)
    assert torch.equal(Dropout(0.5)(x), expected)
