"""What holds for every encoder."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.device import GPU
from tests.seqrec.models.encoders import ALL, CAUSAL, ITEMS, encoder, left_padded

HISTORIES = [[3, 7, 2, 9, 11], [5], [8, 8, 1], [1, 2, 3, 4, 5, 6]]


@pytest.mark.parametrize("name", ALL)
def test_a_history_gives_the_same_vector_whatever_its_padding(name):
    model = encoder(name)
    together = model.last(left_padded(HISTORIES))
    for row, history in zip(together, HISTORIES, strict=True):
        alone = model.last(torch.tensor([history]), padded=False)
        torch.testing.assert_close(row, alone[0])


@pytest.mark.parametrize("name", CAUSAL)
def test_the_last_vector_is_the_last_of_all(name):
    model, items = encoder(name), left_padded(HISTORIES)
    torch.testing.assert_close(model.last(items), model(items)[:, -1])


@pytest.mark.parametrize("name", CAUSAL)
def test_the_future_is_not_seen(name):
    model = encoder(name)
    items, changed = torch.tensor([[1, 2, 3, 4, 5]]), torch.tensor([[1, 2, 3, 9, 5]])
    torch.testing.assert_close(model(items)[:, :3], model(changed)[:, :3])
    assert not torch.allclose(model(items)[:, 3], model(changed)[:, 3])


@pytest.mark.parametrize("name", ALL)
def test_vectors_match_those_of_all_items(name):
    model = encoder(name)
    matrix, hidden = model.item_matrix(), model(left_padded(HISTORIES))
    assert matrix.shape == (ITEMS + 1, hidden.shape[-1])
    assert hidden.shape[:2] == (4, 6)


@pytest.mark.parametrize("name", ALL)
def test_every_weight_is_trained(name):
    """All but the vectors of items that did not occur, and BERT4Rec's [MASK] if nobody asks."""
    model = encoder(name)
    items = left_padded(HISTORIES)
    (model(items).square().sum() + (model.last(items) @ model.item_matrix().T).sum()).backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ALL)
def test_operations_are_those_that_torch_counts(name):
    model = encoder(name)
    items = torch.randint(1, ITEMS, (1, 5))
    # Of the kernels of attention, torch counts in the plain one.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        model.last(items, padded=False)
    assert model.flops(5) == counter.get_total_flops()


@pytest.mark.gpu
@pytest.mark.parametrize("name", ALL)
def test_bfloat16_on_a_gpu(name):
    """Autocast leaves vectors near those of float32; eight bits hold a number to 0.4 %."""
    model, items = encoder(name).to(GPU), left_padded(HISTORIES).to(GPU)
    expected = model.last(items)
    with torch.autocast(GPU.type, torch.bfloat16):
        found = model.last(items)
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.05)
