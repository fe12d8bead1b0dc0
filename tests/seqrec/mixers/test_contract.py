"""What every mixer promises, whatever it is made of."""

import copy

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from okml.errors import ParameterError
from okml.seqrec.backbone import Backbone
from okml.seqrec.block import Block
from okml.seqrec.mixers import MIXERS, Context, QueryMixer, Shape, build_mixer
from okml.seqrec.settings import BackboneSettings
from tests.device import GPU, needs_kernels

from .common import mixer_of, padding_of, times_of, tokens_of

KINDS = pytest.mark.parametrize("name", MIXERS)
MASKED = [name for name, kind in MIXERS.items() if kind.supports_masks]
RANDOM = ["bigbird", "informer", "performer", "reformer"]
LENGTHS = pytest.mark.parametrize("n", [8, 50])


def directions(name) -> list[bool]:
    kind = MIXERS[name]
    return [True] * kind.supports_masks + [False] * kind.supports_bidirectional


def shape_of(name, n=50, causal=None) -> Shape:
    return Shape(n, 12, 3, directions(name)[0] if causal is None else causal)


@KINDS
@LENGTHS
def test_a_row_may_be_short_or_long_and_gradients_are_finite(name, n):
    for length in (n, 60):
        for causal in directions(name):
            mixer = mixer_of(name, shape_of(name, length, causal)).train()
            tokens = tokens_of(3, n, 12).requires_grad_()
            out = mixer(tokens, Context(times=times_of(3, n)))
            assert out.shape == tokens.shape
            out.square().sum().backward()
            assert out.isfinite().all()
            assert tokens.grad.isfinite().all()
            assert tokens.grad.abs().sum() > 0
            for weight, parameter in mixer.named_parameters():
                assert parameter.grad is not None, weight
                assert parameter.grad.isfinite().all(), weight


@KINDS
def test_one_item_is_a_history(name):
    for causal in directions(name):
        mixer = mixer_of(name, shape_of(name, causal=causal))
        assert mixer(tokens_of(2, 1, 12), Context(times=times_of(2, 1))).isfinite().all()


@KINDS
@LENGTHS
def test_a_causal_mixer_does_not_see_the_future(name, n):
    if name not in MASKED:
        with pytest.raises(ParameterError, match="cannot be causal"):
            build_mixer(name, shape_of(name, n, True))
        return
    mixer = mixer_of(name, shape_of(name, n, True))
    tokens, times = tokens_of(2, n, 12), times_of(2, n)
    changed, later = tokens.clone(), times.clone()
    cut = n // 2
    changed[:, cut:] = tokens_of(2, n, 12, seed=9)[:, cut:]
    later[:, cut:] = times[:, cut - 1 : cut] + 1 + torch.arange(n - cut)
    before, after = mixer(tokens, Context(times=times)), mixer(changed, Context(times=later))
    torch.testing.assert_close(before[:, :cut], after[:, :cut])
    assert not torch.allclose(before[:, cut:], after[:, cut:])


@KINDS
def test_a_bidirectional_mixer_sees_the_future(name):
    if not MIXERS[name].supports_bidirectional:
        with pytest.raises(ParameterError, match="only causal"):
            build_mixer(name, shape_of(name, causal=False))
        return
    mixer = mixer_of(name, shape_of(name, causal=False))
    tokens, context = tokens_of(2, 50, 12), Context(times=times_of(2, 50))
    changed = tokens.clone()
    changed[:, 30] += 3
    assert not torch.allclose(mixer(tokens, context)[:, :30], mixer(changed, context)[:, :30])


@KINDS
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("length", [8, 21])
def test_padding_does_not_matter(name, side, length):
    if name not in MASKED:
        model = Backbone(3, BackboneSettings(mixer=name, causal=directions(name)[0]))
        with pytest.raises(ParameterError, match="full histories"):
            model(torch.ones(1, 8).long(), torch.zeros(1, 8).long())
        return
    items = [length, length - 2, length // 2 + 1, 1]
    padding = padding_of(items, length, side)
    for causal in directions(name):
        mixer = mixer_of(name, shape_of(name, length, causal))
        tokens, times = tokens_of(4, length, 12), times_of(4, length)
        together = mixer(tokens, Context(padding, side, times))
        junk = torch.where(padding[..., None], 7.0, tokens)
        again = mixer(junk, Context(padding, side, times.masked_fill(padding, 0)))
        assert together.isfinite().all()
        for row, real in enumerate(~padding):
            alone = Context(times=times[row : row + 1, real])
            want = mixer(tokens[row : row + 1, real], alone)[0]
            torch.testing.assert_close(together[row, real], want)
            torch.testing.assert_close(again[row, real], want)


@KINDS
def test_a_read_out_query_sees_everything(name):
    if not issubclass(MIXERS[name], QueryMixer):
        return
    for causal in directions(name):
        for side in ("left", "right"):
            mixer = mixer_of(name, shape_of(name, 20, causal))
            items = [20, 9 if name in MASKED else 20]
            context = Context(padding_of(items, 20, side), side) if name in MASKED else Context()
            tokens = tokens_of(2, 20, 12)
            last = torch.tensor([19, 19 if side == "left" else items[1] - 1])
            query = tokens[torch.arange(2), last][:, None]
            want = mixer(tokens, context)[torch.arange(2), last]
            torch.testing.assert_close(mixer(tokens, context, query)[:, 0], want)


@KINDS
def test_evaluation_is_repeatable_and_saved(name):
    shape = shape_of(name)
    first, second = mixer_of(name, shape), build_mixer(name, shape).double().eval()
    tokens, context = tokens_of(2, 50, 12), Context(times=times_of(2, 50))
    want = first(tokens, context)
    assert torch.equal(first(tokens, context), want)
    second.load_state_dict(first.state_dict())
    assert torch.equal(second(tokens, context), want)


@pytest.mark.parametrize("name", RANDOM)
def test_random_choices_are_drawn_with_the_weights(name):
    mixer = mixer_of(name, Shape(80, 12, 3, False))
    tokens = tokens_of(2, 80, 12)
    drawn = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        mixer.initialize()
        drawn.append(mixer(tokens, Context()))
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.allclose(drawn[0], drawn[1])


@KINDS
@pytest.mark.parametrize("n", [8, 50, 100])
def test_flops_are_those_that_pytorch_counts(name, n):
    for causal in directions(name):
        mixer = mixer_of(name, Shape(n, 12, 3, causal)).float()
        tokens, context = torch.randn(1, n, 12), Context(times=times_of(1, n))
        unfused = sdpa_kernel(SDPBackend.MATH)
        with FlopCounterMode(display=False) as counter, torch.no_grad(), unfused:
            mixer(tokens, context)
        uncounted = mixer.flops(n, n) - counter.get_total_flops()
        # PyTorch's counter sees products of matrices: no transforms, no rolls, no recurrence.
        if name == "autoformer":
            assert uncounted == mixer.flops(n, n) - mixer.projection_flops(n, n)
        elif name == "mamba":
            assert uncounted == mixer.scan_flops(n)
        else:
            assert uncounted == 0


# A mask is all that differs between the directions; one of them is traced each time.
TRACED = [
    pytest.param(name, causal, marks=pytest.mark.nightly if number else ())
    for name in MIXERS
    for number, causal in enumerate(directions(name))
]


@pytest.mark.parametrize(("name", "causal"), TRACED)
def test_a_graph_without_breaks_is_the_same_function(name, causal):
    mixer = mixer_of(name, shape_of(name, 20, causal))
    compiled = torch.compile(copy.deepcopy(mixer), backend="aot_eager", fullgraph=True)
    context = Context(times=times_of(2, 20))
    if mixer.supports_masks:
        context = Context(padding_of([20, 7], 20, "left"), "left", times_of(2, 20))
    tokens = tokens_of(2, 20, 12)
    torch.testing.assert_close(compiled(tokens, context), mixer(tokens, context))
    torch.compiler.reset()


@KINDS
def test_half_precision_is_close(name):
    for causal in directions(name):
        torch.manual_seed(0)
        mixer = build_mixer(name, shape_of(name, causal=causal)).eval()
        tokens, context = torch.randn(2, 50, 12), Context(times=times_of(2, 50))
        want = mixer(tokens, context)
        with torch.autocast("cpu", torch.bfloat16):
            got = mixer(tokens, context)
        # Choices that rank or hash may flip for a few tokens, so not all need to agree.
        close = (got.float() - want).abs().amax(-1) < 0.05 * want.abs().max() + 0.02
        assert close.float().mean() > 0.8
        assert got.isfinite().all()


@KINDS
def test_a_bias_of_the_keys_is_added_or_refused(name):
    causal = directions(name)[0]
    options = BackboneSettings(width=12, heads=3, mixer=name, causal=causal, length=8)
    block = Block(options, Shape(8, 12, 3, causal)).eval()
    tokens, times = torch.randn(1, 8, 12), times_of(1, 8)
    biased = Context(times=times, key_bias=torch.arange(8.0)[None])
    if MIXERS[name].supports_key_bias:
        assert not torch.allclose(block(tokens, biased), block(tokens, Context(times=times)))
    else:
        with pytest.raises(ParameterError, match="bias of the keys"):
            block(tokens, biased)


@KINDS
def test_a_backbone_of_it_learns(name):
    torch.manual_seed(0)
    causal = directions(name)[0]
    options = BackboneSettings(
        width=12, heads=3, hidden=24, mixer=name, causal=causal, length=8, dropout=0.0
    )
    model = Backbone(9, options)
    items = torch.randint(1, 10, (16, 8))
    times = times_of(16, 8)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    losses = []
    for _ in range(60):
        scores = model.last(items, times, padded=False) @ model.item_matrix().T
        loss = torch.nn.functional.cross_entropy(scores, items[:, 0])  # the oldest item
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def check_compiled_in_half_precision(name, causal, device, n):
    torch.manual_seed(0)
    mixer = build_mixer(name, Shape(n, 64, 2, causal)).to(device)
    compiled = torch.compile(mixer)
    tokens = torch.randn(2, n, 64, device=device, requires_grad=True)
    context = Context(times=times_of(2, n).to(device))
    with torch.autocast(device, torch.bfloat16):
        out = compiled(tokens, context)
    out.float().square().sum().backward()
    assert out.isfinite().all()
    assert tokens.grad.isfinite().all()
    mixer.eval()
    with torch.no_grad():
        want = mixer(tokens, context)
        with torch.autocast(device, torch.bfloat16):
            got = compiled(tokens, context)
    close = (got.float() - want).abs().amax(-1) < 0.05 * want.abs().max() + 0.02
    assert close.float().mean() > 0.8
    torch.compiler.reset()


# The kernels of a mixer take ten seconds to build. Graphs of all are compared above, and tests of
# tasks compile attention.
SAMPLED = [
    pytest.param(name, marks=() if name == "hstu" else pytest.mark.nightly) for name in MIXERS
]


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLED)
def test_compiled_in_half_precision(name):
    # A mask is all that differs between the directions, so that those of one will do.
    check_compiled_in_half_precision(name, directions(name)[0], "cpu", 50)


@KINDS
@needs_kernels
@pytest.mark.gpu
@pytest.mark.parametrize("n", [50, 1100])
def test_compiled_in_half_precision_on_a_gpu(name, n):
    for causal in directions(name):
        check_compiled_in_half_precision(name, causal, GPU.type, n)
