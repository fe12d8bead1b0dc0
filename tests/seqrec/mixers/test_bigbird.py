import math

import pytest
import torch

from okml.seqrec.mixers import Attention, BigBird, Shape
from tests.device import GPU, needs_kernels

from .common import NOTHING, heads_of, mixer_of, tokens_of


def allowed(mixer: BigBird, newer_i: int, newer_j: int) -> bool:
    """Whether an item sees another; both are given by the number of items after them."""
    blocks = math.ceil(mixer.shape.length / mixer.block)
    i, j = newer_i // mixer.block, newer_j // mixer.block
    ends = {0, blocks - 1}
    return abs(i - j) <= 1 or i in ends or j in ends or bool(mixer.pattern[i, j])


@torch.no_grad()
@pytest.mark.parametrize("n", [17, 12, 3])
def test_against_the_definition(n):
    mixer = mixer_of("bigbird", Shape(17, 6, 2, False), block=2)
    tokens = tokens_of(1, n, 6)
    q, k, v = (heads_of(f(tokens[0]), 2) for f in (mixer.query, mixer.key, mixer.value))
    mixed = torch.zeros(2, n, 3).double()
    skipped = 0
    for h in range(2):
        for i in range(n):
            near = [j for j in range(n) if allowed(mixer, n - 1 - i, n - 1 - j)]
            skipped += n - len(near)
            weights = [math.exp(float(q[h, i] @ k[h, j]) / math.sqrt(3)) for j in near]
            total = sum(w * v[h, j] for w, j in zip(weights, near, strict=True))
            mixed[h, i] = total / sum(weights)
    assert (skipped > 0) == (n > 8)
    want = mixer.output(torch.cat(list(mixed), -1))
    torch.testing.assert_close(mixer(tokens, NOTHING)[0], want)


@pytest.mark.parametrize("random_blocks", [0, 1, 3])
def test_the_pattern_has_as_many_random_blocks_as_asked(random_blocks):
    mixer = mixer_of("bigbird", Shape(50, 6, 2, False), random_blocks=random_blocks)
    assert mixer.block == 4
    pattern = mixer.pattern  # 13 blocks
    assert pattern.shape == (13, 13)
    for i in range(1, 12):
        fixed = {0, 12, i - 1, i, i + 1}
        free = [j for j in range(13) if j not in fixed]
        drawn = [j for j in range(13) if pattern[i, j] and j not in fixed]
        assert set(drawn) <= set(free)
        assert len(drawn) == min(random_blocks, len(free))


@torch.no_grad()
def test_two_blocks_are_full_attention():
    mixer = mixer_of("bigbird", Shape(8, 12, 3, False))
    attention = Attention(mixer.shape).double().eval()
    attention.load_state_dict(mixer.state_dict(), strict=False)
    tokens = tokens_of(2, 8, 12)
    torch.testing.assert_close(mixer(tokens, NOTHING), attention(tokens, NOTHING))


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.skipif(
    # What `check_cpu_supported` of torch._inductor.kernel.flex.flex_cpu asks for on a CPU.
    not torch.backends.cpu.get_cpu_capability().startswith("AVX"),
    reason="torch compiles flex attention only for CPUs that have AVX2",
)
@pytest.mark.parametrize(
    ("length", "n", "block"),
    [
        # Each builds kernels of its own. This one has a block that is no power of two, and a last
        # block that is cut.
        (400, 390, 24),
        pytest.param(1300, 1300, None, marks=pytest.mark.nightly),
        pytest.param(1300, 1024, None, marks=pytest.mark.nightly),
    ],
)
def test_the_sparse_kernel_computes_what_the_mask_does(length, n, block):
    mixer = mixer_of("bigbird", Shape(length, 16, 2, False), block=block).float()
    assert not mixer.pattern.all()
    q, k, v = (x.view(2, 2, n, 8) for x in torch.randn(3, 2, 2, n, 8))
    torch.testing.assert_close(mixer.flex(q, k, v), mixer.dense(q, k, v))
    torch.compiler.reset()


def test_flops_of_long_sequences_are_those_of_the_visible_blocks():
    full = mixer_of("bigbird", Shape(2048, 16, 2, False))
    assert full.block == 128  # 16 blocks
    pairs = 0
    for i in range(16):
        pairs += sum(128 * 128 for j in range(16) if full.pattern[i, j])
    assert pairs < 2048 * 2048 / 2
    assert full.flops(2048, 2048) == 8 * 2048 * 16 * 16 + 4 * pairs * 16


@needs_kernels
@pytest.mark.gpu
def test_on_a_gpu_long_sequences_skip_blocks():
    mixer = mixer_of("bigbird", Shape(2048, 64, 2, False)).float().to(GPU)
    tokens = torch.randn(2, 2048, 64, device=GPU, requires_grad=True)
    q, k, v = mixer.project(tokens)
    want = mixer.merge(mixer.dense(q, k, v))
    got = mixer(tokens, NOTHING)
    torch.testing.assert_close(got, want, rtol=1e-2, atol=1e-2)
    (gradient,) = torch.autograd.grad(got.square().sum(), tokens, retain_graph=True)
    (expected,) = torch.autograd.grad(want.square().sum(), tokens)
    assert torch.nn.functional.cosine_similarity(gradient, expected, dim=-1).min() > 0.99
