import pytest
import torch

from okml.seqrec.mixers.linear import linear_attention


@pytest.mark.parametrize("n", [1, 5, 64, 65, 128, 200])
@pytest.mark.parametrize("causal", [True, False])
def test_the_linear_order_of_products_equals_the_square(n, causal):
    torch.manual_seed(n)
    q, k = torch.randn(2, 2, 3, n, 5, dtype=torch.float64)
    v = torch.randn(2, 3, n, 4, dtype=torch.float64)
    want = torch.zeros_like(v)
    for i in range(n):
        for j in range(i + 1 if causal else n):
            want[..., i, :] += (q[..., i, :] * k[..., j, :]).sum(-1, keepdim=True) * v[..., j, :]
    torch.testing.assert_close(linear_attention(q, k, v, causal), want)
