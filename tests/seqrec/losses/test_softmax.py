import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from okml.seqrec.losses import ChunkedSoftmax, Softmax, base
from tests.seqrec.losses import naive

ROW = 11 * 8  # bytes of one target's float64 logits in `problem`
LOSSES = [Softmax(), *(ChunkedSoftmax(size) for size in (1, 3 * ROW, 7 * ROW, 2**24))]


@pytest.mark.parametrize("loss", LOSSES)
def test_it_is_the_mean_over_real_targets_of_the_definition(loss):
    hidden, items, targets = naive.problem()
    targets[2] = 0
    torch.testing.assert_close(loss(hidden, items, targets), naive.softmax(hidden, items, targets))


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients(loss):
    hidden, items, targets = naive.problem()
    targets[[0, 4]] = 0
    assert torch.autograd.gradcheck(lambda h, v: loss(h, v, targets), (hidden, items))


@pytest.mark.parametrize("chunk_bytes", [1, 1000, 10**4, 2**24])
def test_chunks_change_neither_loss_nor_gradients(chunk_bytes):
    torch.manual_seed(0)
    targets = torch.randint(0, 301, (6, 20))
    found = []
    for loss in (Softmax(), ChunkedSoftmax(chunk_bytes)):
        generator = torch.Generator().manual_seed(1)
        hidden = torch.randn(6, 20, 16, generator=generator).requires_grad_()
        items = torch.randn(301, 16, generator=generator).requires_grad_()
        value = loss(hidden, items, targets)
        (3 * value).backward()  # a factor that the precomputed gradient must take
        found.append((value, hidden.grad, items.grad))
    for full, chunked in zip(*found, strict=True):
        torch.testing.assert_close(chunked, full, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("chunk_bytes", [1, 1000, 2**24])
@pytest.mark.parametrize(("items", "width"), [(301, 17), (304, 16), (7, 3)])
def test_sizes_that_a_card_is_fast_at_change_nothing(items, width, chunk_bytes, monkeypatch):
    found = []
    for multiple in (1, 8):
        monkeypatch.setattr(base, "fast_multiple", lambda device, multiple=multiple: multiple)
        generator = torch.Generator().manual_seed(1)
        hidden = torch.randn(40, width, generator=generator).requires_grad_()
        matrix = torch.randn(items + 1, width, generator=generator).requires_grad_()
        targets = torch.randint(0, items + 1, (40,), generator=generator)
        value = ChunkedSoftmax(chunk_bytes)(hidden, matrix, targets)
        value.backward()
        found.append((value, hidden.grad, matrix.grad))
    for plain, padded in zip(*found, strict=True):
        assert padded.shape == plain.shape
        torch.testing.assert_close(padded, plain, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("loss", LOSSES[:3])
def test_padding_is_never_a_class(loss):
    hidden, items, targets = naive.problem()
    before = loss(hidden, items, targets)
    with torch.no_grad():
        items[0] = 100 * hidden[0]
    after = loss(hidden, items, targets)
    assert after == before
    after.backward()
    assert (items.grad[0] == 0).all()


@pytest.mark.parametrize("loss", LOSSES[:3])
def test_equal_scores_give_log_of_the_catalog(loss):
    value = loss(torch.zeros(2, 3), torch.randn(11, 3), torch.tensor([4, 9]))
    assert float(value) == pytest.approx(torch.log(torch.tensor(10.0)).item())


@pytest.mark.parametrize("loss", LOSSES[:3])
def test_logits_of_a_thousand_are_no_infinity(loss):
    hidden = torch.tensor([[1000.0], [-1000.0]], requires_grad=True)
    items = torch.tensor([[0.0], [1.0], [-1.0]], requires_grad=True)
    value = loss(hidden, items, torch.tensor([2, 2]))  # 2000 off, and right
    assert value.item() == 1000.0
    value.backward()
    torch.testing.assert_close(hidden.grad, torch.tensor([[1.0], [0.0]]))


@pytest.mark.parametrize("loss", LOSSES[:3])
def test_a_batch_without_targets_costs_nothing(loss):
    hidden, items, targets = naive.problem()
    value = loss(hidden, items, torch.zeros_like(targets))
    value.backward()
    assert value.item() == 0
    assert not hidden.grad.any()


def test_logits_are_never_held_at_once():
    """Of 200 targets and 1000 items, with room for 10 targets, no tensor has more than 10 rows."""
    shapes = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            made = function(*args, **(kwargs or {}))
            if isinstance(made, torch.Tensor):
                shapes.append(tuple(made.shape))
            return made

    hidden = torch.randn(200, 8, requires_grad=True)
    items = torch.randn(1001, 8, requires_grad=True)
    with Watch():
        ChunkedSoftmax(10 * 1000 * 4)(hidden, items, torch.arange(1, 201)).backward()
    assert (10, 1000) in shapes
    assert max(a * b for a, b in (s for s in shapes if len(s) == 2)) == 10 * 1000


def test_without_gradients_it_only_adds_up():
    hidden, items, targets = naive.problem()
    with torch.no_grad():
        value = ChunkedSoftmax(3 * ROW)(hidden, items, targets)
    assert not value.requires_grad
    torch.testing.assert_close(value, Softmax()(hidden, items, targets).detach())


def test_bfloat16_products_are_summed_in_float32():
    """As near to the float64 truth as bfloat16 inputs allow, over hundreds of chunks."""
    torch.manual_seed(0)
    hidden = torch.randn(800, 16).bfloat16().float()
    items = (torch.randn(101, 16) / 4).bfloat16().float()
    targets = torch.randint(1, 101, (800,))
    found = []
    for dtype in (torch.float64, torch.float32):
        h, v = (x.to(dtype).requires_grad_() for x in (hidden, items))
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.float32):
            value = ChunkedSoftmax(2 * 100 * 4)(h, v, targets)
        value.backward()
        found.append((value.detach(), h.grad, v.grad))
    for exact, rough in zip(*found, strict=True):
        assert rough.dtype == torch.float32
        error = (rough - exact).norm() / exact.norm()
        assert float(error) < 4e-3  # of one rounding to 8 bits


def test_compiled():
    hidden, items, targets = naive.problem()
    compiled = torch.compile(ChunkedSoftmax(3 * ROW), backend="eager")
    value = compiled(hidden, items, targets)
    value.backward()
    torch.testing.assert_close(value, Softmax()(hidden, items, targets))
    assert items.grad is not None
