"""What every mixer promises, whatever it is made of."""

import copy

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from okml.errors import ParameterError
from okml.seqrec.backbone import Backbone
from okml.seqrec.block import Block
from okml.seqrec.mixers import MIXERS, Context, QueryMixer, RandomMixer, Shape, build
from okml.seqrec.mixers.attention import Attention
from okml.seqrec.settings import BackboneSettings

from .common import mixer_of, padding_of, times_of, tokens_of

KINDS = pytest.mark.parametrize(
    "settings", [kind() for kind in MIXERS], ids=[kind.__name__ for kind in MIXERS.values()]
)
LENGTHS = pytest.mark.parametrize("n", [8, 50])


def directions(settings) -> list[bool]:
    kind = MIXERS[type(settings)]
    return [True] * kind.supports_causal + [False] * kind.supports_bidirectional


def shape_of(settings, n=50, causal=None) -> Shape:
    return Shape(n, 12, 3, directions(settings)[0] if causal is None else causal)


@KINDS
@LENGTHS
def test_a_row_may_be_short_or_long_and_gradients_are_finite(settings, n):
    for length in (n, 60):
        for causal in directions(settings):
            mixer = mixer_of(settings, shape_of(settings, length, causal)).train()
            tokens = tokens_of(3, n, 12).requires_grad_()
            out = mixer(tokens, Context(times=times_of(3, n)))
            assert out.shape == tokens.shape
            out.square().sum().backward()
            assert out.isfinite().all()
            assert tokens.grad.isfinite().all()
            assert tokens.grad.abs().sum() > 0
            for name, parameter in mixer.named_parameters():
                assert parameter.grad is not None, name
                assert parameter.grad.isfinite().all(), name


@KINDS
def test_one_item_is_a_history(settings):
    for causal in directions(settings):
        mixer = mixer_of(settings, shape_of(settings, causal=causal))
        assert mixer(tokens_of(2, 1, 12), Context(times=times_of(2, 1))).isfinite().all()


@KINDS
@LENGTHS
def test_a_causal_mixer_does_not_see_the_future(settings, n):
    if not MIXERS[type(settings)].supports_causal:
        with pytest.raises(ParameterError, match="cannot be causal"):
            build(settings, shape_of(settings, n, True))
        return
    mixer = mixer_of(settings, shape_of(settings, n, True))
    tokens, times = tokens_of(2, n, 12), times_of(2, n)
    changed, later = tokens.clone(), times.clone()
    cut = n // 2
    changed[:, cut:] = tokens_of(2, n, 12, seed=9)[:, cut:]
    later[:, cut:] = times[:, cut - 1 : cut] + 1 + torch.arange(n - cut)
    before, after = mixer(tokens, Context(times=times)), mixer(changed, Context(times=later))
    torch.testing.assert_close(before[:, :cut], after[:, :cut])
    assert not torch.allclose(before[:, cut:], after[:, cut:])


@KINDS
def test_a_bidirectional_mixer_sees_the_future(settings):
    if not MIXERS[type(settings)].supports_bidirectional:
        with pytest.raises(ParameterError, match="causal only"):
            build(settings, shape_of(settings, causal=False))
        return
    mixer = mixer_of(settings, shape_of(settings, causal=False))
    tokens, context = tokens_of(2, 50, 12), Context(times=times_of(2, 50))
    changed = tokens.clone()
    changed[:, 30] += 3
    assert not torch.allclose(mixer(tokens, context)[:, :30], mixer(changed, context)[:, :30])


@KINDS
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("length", [8, 21])
def test_padding_does_not_matter(settings, side, length):
    if not MIXERS[type(settings)].supports_padding:
        model = Backbone(3, BackboneSettings(mixer=settings, causal=directions(settings)[0]))
        with pytest.raises(ParameterError, match="full histories"):
            model(torch.ones(1, 8).long())
        return
    items = [length, length - 2, length // 2 + 1, 1]
    padding = padding_of(items, length, side)
    for causal in directions(settings):
        mixer = mixer_of(settings, shape_of(settings, length, causal))
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
def test_a_read_out_query_sees_everything(settings):
    if not issubclass(MIXERS[type(settings)], QueryMixer):
        return
    for causal in directions(settings):
        for side in ("left", "right"):
            mixer = mixer_of(settings, shape_of(settings, 20, causal))
            padding = padding_of([20, 9], 20, side)
            context = Context(padding, side)
            tokens = tokens_of(2, 20, 12)
            last = torch.tensor([19, 19 if side == "left" else 8])
            query = tokens[torch.arange(2), last][:, None]
            want = mixer(tokens, context)[torch.arange(2), last]
            torch.testing.assert_close(mixer(tokens, context, query)[:, 0], want)


@KINDS
def test_evaluation_is_repeatable_and_saved(settings):
    shape = shape_of(settings)
    first, second = mixer_of(settings, shape), build(settings, shape).double().eval()
    tokens, context = tokens_of(2, 50, 12), Context(times=times_of(2, 50))
    want = first(tokens, context)
    assert torch.equal(first(tokens, context), want)
    second.load_state_dict(first.state_dict())
    assert torch.equal(second(tokens, context), want)


@KINDS
def test_random_choices_come_from_the_generator(settings):
    if not issubclass(MIXERS[type(settings)], RandomMixer):
        return
    shape = Shape(80, 12, 3, directions(settings)[0])
    mixer = mixer_of(settings, shape)
    tokens = tokens_of(2, 80, 12)
    drawn = []
    for seed in (1, 2, 1):
        mixer.draw(torch.Generator().manual_seed(seed))
        drawn.append(mixer(tokens, Context()))
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.allclose(drawn[0], drawn[1])


@KINDS
@pytest.mark.parametrize("n", [8, 50, 100])
def test_flops_are_those_that_pytorch_counts(settings, n):
    for causal in directions(settings):
        mixer = mixer_of(settings, Shape(n, 12, 3, causal)).float()
        tokens, context = torch.randn(1, n, 12), Context(times=times_of(1, n))
        unfused = sdpa_kernel(SDPBackend.MATH)
        with FlopCounterMode(display=False) as counter, torch.no_grad(), unfused:
            mixer(tokens, context)
        uncounted = mixer.flops(n, n) - counter.get_total_flops()
        # PyTorch's counter sees products of matrices: no transforms, no rolls, no recurrence.
        if settings.kind == "autoformer":
            assert uncounted == mixer.flops(n, n) - mixer.projection_flops(n, n)
        elif settings.kind == "mamba":
            assert uncounted == mixer.scan_flops(n)
        else:
            assert uncounted == 0


@KINDS
def test_a_graph_without_breaks_is_the_same_function(settings):
    for causal in directions(settings):
        mixer = mixer_of(settings, shape_of(settings, 20, causal))
        compiled = torch.compile(copy.deepcopy(mixer), backend="aot_eager", fullgraph=True)
        context = Context(times=times_of(2, 20))
        if mixer.supports_padding:
            context = Context(padding_of([20, 7], 20, "left"), "left", times_of(2, 20))
        tokens = tokens_of(2, 20, 12)
        torch.testing.assert_close(compiled(tokens, context), mixer(tokens, context))
    torch.compiler.reset()


@KINDS
def test_half_precision_is_close(settings):
    for causal in directions(settings):
        torch.manual_seed(0)
        mixer = build(settings, shape_of(settings, causal=causal)).eval()
        tokens, context = torch.randn(2, 50, 12), Context(times=times_of(2, 50))
        want = mixer(tokens, context)
        with torch.autocast("cpu", torch.bfloat16):
            got = mixer(tokens, context)
        # Choices that rank or hash may flip for a few tokens, so not all need to agree.
        close = (got.float() - want).abs().amax(-1) < 0.05 * want.abs().max() + 0.02
        assert close.float().mean() > 0.8
        assert got.isfinite().all()


@KINDS
def test_a_bias_of_the_keys_is_added_or_refused(settings):
    causal = directions(settings)[0]
    options = BackboneSettings(width=12, heads=3, mixer=settings, causal=causal, length=8)
    block = Block(options, Shape(8, 12, 3, causal)).eval()
    tokens, times = torch.randn(1, 8, 12), times_of(1, 8)
    biased = Context(times=times, key_bias=torch.arange(8.0)[None])
    if MIXERS[type(settings)].supports_key_bias:
        assert not torch.allclose(block(tokens, biased), block(tokens, Context(times=times)))
    else:
        with pytest.raises(ParameterError, match="bias of the keys"):
            block(tokens, biased)


@KINDS
def test_a_backbone_of_it_learns(settings):
    torch.manual_seed(0)
    causal = directions(settings)[0]
    options = BackboneSettings(
        width=12, heads=3, hidden=24, mixer=settings, causal=causal, length=8, dropout=0.0
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


def check_compiled_in_half_precision(settings, causal, device, n):
    torch.manual_seed(0)
    mixer = build(settings, Shape(n, 64, 2, causal)).to(device)
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


# The kernels of a mixer take ten seconds to build; graphs of all are compared above.
SAMPLE = (Attention,)
SAMPLED = [
    pytest.param(of(), marks=() if kind in SAMPLE else pytest.mark.nightly, id=kind.__name__)
    for of, kind in MIXERS.items()
]


@pytest.mark.slow
@pytest.mark.parametrize("settings", SAMPLED)
def test_compiled_in_half_precision(settings):
    # A mask is all that differs between the directions, so that those of one will do.
    check_compiled_in_half_precision(settings, directions(settings)[0], "cpu", 50)


@KINDS
@pytest.mark.gpu
@pytest.mark.parametrize("n", [50, 1100])
def test_compiled_in_half_precision_on_a_gpu(settings, n):
    for causal in directions(settings):
        check_compiled_in_half_precision(settings, causal, "cuda", n)
