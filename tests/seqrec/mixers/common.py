"""What the tests of the mixers share: small mixers in double precision, rows with padding."""

import torch

from okml.seqrec.mixers import MIXERS, Context, Mixer, Shape


def mixer_of(name: str, shape: Shape, std: float = 0.5, **sizes: int) -> Mixer:
    """Make a mixer whose weights are large enough to matter."""
    torch.manual_seed(3)
    mixer = MIXERS[name](shape, **sizes)
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return mixer.double().eval()


def tokens_of(b: int, n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(b, n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def times_of(b: int, n: int, seed: int = 0) -> torch.Tensor:
    """Return seconds with ties and with gaps from seconds to years."""
    generator = torch.Generator().manual_seed(seed)
    gaps = (torch.rand(b, n, generator=generator) * 17).exp().long() - 1
    gaps[:, ::4] = 0
    return 1_200_000_000 + gaps.cumsum(1)


def padding_of(items: list[int], n: int, side: str) -> torch.Tensor:
    """Return the padding of rows with so many items."""
    place = torch.arange(n)
    count = torch.tensor(items)[:, None]
    return place < n - count if side == "left" else place >= count


def heads_of(x: torch.Tensor, heads: int) -> torch.Tensor:
    """Cut ``[n, d]`` into ``[h, n, d_h]``, written another way than in the mixers."""
    return torch.stack(x.chunk(heads, dim=-1))


NOTHING = Context()
