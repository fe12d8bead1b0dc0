import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okml.errors import ParameterError
from okml.seqrec.backbone import Backbone
from okml.seqrec.mixers import Context
from okml.seqrec.settings import BackboneSettings
from okml.strec.arms import start_from
from okml.strec.model import STRec
from okml.strec.relaxation import RelaxationSettings
from okml.strec.sampler import SamplerSettings, keep_order
from tests.device import GPU, needs_kernels

N, ITEMS = 8, 20


def options(**changes) -> BackboneSettings:
    sizes = {"length": N, "width": 12, "heads": 3, "layers": 4, "hidden": 24, "initial_std": 0.4}
    fixed = {"causal": False, "padding_side": "left", "dropout": 0.0}
    return BackboneSettings(**(sizes | fixed | changes))


def strec(schedule=(8, 4, 2, 1), sampler=None, relaxation=None, **changes) -> STRec:
    torch.manual_seed(0)
    sampling = sampler or SamplerSettings(noise="none")
    return STRec(ITEMS, options(**changes), schedule, sampling, relaxation).eval()


def histories(count=5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    items = torch.randint(1, ITEMS + 1, (count, N), generator=generator)
    age = torch.randint(0, 10**6, (count, N), generator=generator).sort(descending=True).values
    return items, 1_500_000_000 - age


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("ranking", ["gap", "random", "content"])
def test_keeping_everything_is_the_backbone_in_another_order(norm, ranking):
    model = strec((8, 8, 8, 1), SamplerSettings(ranking=ranking), norm=norm)
    backbone = Backbone(ITEMS, options(norm=norm)).eval()
    backbone.load_state_dict(model.state_dict(), strict=False)
    items, times = histories()
    torch.testing.assert_close(
        model.last(items, times, padded=False),
        backbone.last(items, padded=False),
        atol=1e-5,
        rtol=1e-5,
    )


@torch.no_grad()
def by_definition(model: STRec, items, times) -> torch.Tensor:
    """Eq. 3 and 6-8 with explicit sets of indices, one history at a time."""
    rows = []
    for row in range(len(items)):
        tokens, _ = model.embed(items[row : row + 1], None, False)
        scores = model.sampler(tokens, times[row : row + 1], None)
        ranked = sorted(range(N), key=lambda i: (-float(scores[0, i]), -i))
        alive = {i: tokens[0, i] for i in range(N)}
        for block, count in zip(model.blocks, model.schedule, strict=True):
            keys = torch.stack(list(alive.values()))[None]
            queries = {i: alive[i][None, None] for i in ranked[:count]}
            alive = {i: block(keys, Context(), query)[0, 0] for i, query in queries.items()}
        rows.append(model.norm(alive[N - 1]))
    return torch.stack(rows)


@pytest.mark.parametrize("schedule", [(8, 4, 2, 1), (5, 5, 3, 1), (1, 1, 1, 1)])
def test_against_the_definition(schedule):
    model = strec(schedule)
    items, times = histories()
    torch.testing.assert_close(model.last(items, times, False), by_definition(model, items, times))


@given(st.integers(0, 10**6))
def test_samples_are_nested_and_hold_the_newest(seed):
    torch.manual_seed(seed)
    model = strec(sampler=SamplerSettings(noise="normal")).train()
    items, times = histories()
    tokens, _ = model.embed(items, times, False)
    order = keep_order(model.sampler(tokens, times, None), N)
    for wide, narrow in zip((8, 4, 2), (4, 2, 1), strict=True):
        for row in order.tolist():
            assert set(row[:narrow]) <= set(row[:wide])
            assert N - 1 in row[:narrow]


@pytest.mark.parametrize("estimator", ["soft", "released"])
def test_the_relaxed_stage_tends_to_the_hard_one(estimator):
    relaxation = RelaxationSettings(estimator=estimator, temperature=1e-3)
    # Scores one apart; the released mask blurs what is nearer than 0.17.
    sampler = SamplerSettings(ranking="recency")
    model = strec(sampler=sampler, relaxation=relaxation)
    items, times = histories()
    hard = model.last(items, times, padded=False)
    model.stage = "relaxed"
    torch.testing.assert_close(model.last(items, times, False), hard, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("stage", ["relaxed", "hard"])
def test_a_short_history_gives_the_same_vector_whatever_its_padding(stage):
    model = strec()
    model.stage = stage
    items, times = histories()
    garbage = torch.cat([torch.zeros_like(items[:, :5]), items[:, 5:]], 1)
    other_times = torch.cat([times[:, :5] - 10**7, times[:, 5:]], 1)
    shorter = STRec(ITEMS, options(), (8, 4, 2, 1), SamplerSettings(noise="none")).eval()
    shorter.load_state_dict(model.state_dict())
    shorter.stage = stage
    torch.testing.assert_close(model.last(garbage, times), model.last(garbage, other_times))
    assert model.last(garbage, times).isfinite().all()
    # Three items are kept by the first layers whatever the schedule allows.
    alone = _short_by_definition(model, items[:, 5:], times[:, 5:])
    if stage == "hard":
        torch.testing.assert_close(model.last(garbage, times), alone)


def _short_by_definition(model: STRec, items, times) -> torch.Tensor:
    """The hard stage on three real items, without any padding."""
    tokens, context = model.embed(items, times, False)
    order = keep_order(model.sampler(tokens, times, None), 3)
    kept = tokens.gather(1, order[..., None].expand(-1, -1, tokens.shape[-1]))
    for block, count in zip(model.blocks, (3, 3, 2, 1), strict=True):
        kept, tokens = block(tokens, context, kept[:, :count]), None
        tokens = kept
    return model.norm(kept[:, 0])


def test_gradients_reach_the_sampler_in_the_first_stage_only():
    model = strec(sampler=SamplerSettings()).train()
    items, times = histories()
    for stage in ("relaxed", "hard"):
        model.zero_grad()
        model.stage = stage
        model.last(items, times, padded=False).square().sum().backward()
        reached = [
            p.grad is not None and p.grad.abs().sum() > 0 for p in model.sampler.parameters()
        ]
        assert all(reached) if stage == "relaxed" else not any(reached)
        assert model.blocks[0].mixer.query.weight.grad.abs().sum() > 0


def test_a_backbone_starts_the_model_and_only_the_sampler_is_new():
    model, backbone = strec(), Backbone(ITEMS, options())
    share = start_from(model, backbone.state_dict())
    torch.testing.assert_close(model.embedding.item.weight, backbone.embedding.item.weight)
    added = model.state_dict().keys() - backbone.state_dict().keys()
    assert all(name.startswith("sampler.") for name in added)
    assert sum(model.state_dict()[name].numel() for name in added) == 97
    total = sum(value.numel() for value in model.state_dict().values())
    assert share == pytest.approx(1 - 97 / total)


def test_misuse_is_explained():
    model = strec()
    items, _ = histories()
    with pytest.raises(ParameterError, match="times"):
        model.last(items)
    with pytest.raises(ParameterError, match="newest item only"):
        model(items)
    with pytest.raises(ParameterError, match="padding on the left"):
        strec(padding_side="right")
    with pytest.raises(ParameterError, match="2 shifts for 4 layers"):
        strec(relaxation=RelaxationSettings(shifts=(-0.2, -0.2)))


@needs_kernels
@pytest.mark.gpu
@pytest.mark.parametrize("stage", ["relaxed", "hard"])
def test_bfloat16_and_compile_on_a_gpu(stage):
    model = strec().to(GPU)
    model.stage = stage
    items, times = (x.to(GPU) for x in histories())
    expected = model.last(items, times, padded=False)
    compiled = torch.compile(model.last)
    with torch.autocast(GPU.type, torch.bfloat16):
        got = compiled(items, times, False)
    torch.testing.assert_close(got.float(), expected, atol=0.1, rtol=0.1)
