"""Images with squares of pixels moved into channels: the small networks' latent space."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from okml.add.interfaces import Codec


class PatchCodec(Codec):
    """Maps images ``[B, C, H, W]`` to ``[B, C p p, H / p, W / p]`` and back, exactly.

    A network of the same widths takes a p-th of the side and so a p²-th of the time. Noise stays
    independent noise, and a mean over entries is the mean over pixels.

    Args:
        patch: The side p of a square in pixels; 1 leaves images as they are.
    """

    def __init__(self, patch: int = 1) -> None:
        super().__init__()
        self.patch = patch

    def encode(self, images: Tensor) -> Tensor:
        """Return images ``[B, C, H, W]`` with their squares as channels."""
        return functional.pixel_unshuffle(images, self.patch)

    def decode(self, latents: Tensor) -> Tensor:
        """Return the images ``[B, C, H, W]`` of latents."""
        return functional.pixel_shuffle(latents, self.patch)
