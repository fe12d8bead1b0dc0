"""A small student as a pipeline of diffusers: from captions to pictures."""

from collections.abc import Sequence

import torch
from diffusers import DiffusionPipeline, LCMScheduler, UNet2DModel
from PIL import Image
from torch import Tensor

from okml.add.images.base import as_bytes
from okml.add.images.prompts import caption_vectors
from okml.add.small.patches import PatchCodec


class CaptionPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Draws pictures for captions in one to four steps.

    Save it with ``save_pretrained(folder)``, load it with ``CaptionPipeline.from_pretrained``.

    Args:
        unet: The student's network.
        scheduler: The scheduler of :func:`okml.add.exports.student_scheduler`.
        text: The text encoder, as :func:`okml.add.images.prompts.caption_vectors` names it.
        patch: The side of the squares of pixels that the network sees as one place.
    """

    # Annotations of this method are read by diffusers, which needs the classes themselves.
    def __init__(
        self, unet: UNet2DModel, scheduler: LCMScheduler, text: str = "words", patch: int = 1
    ) -> None:
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)
        self.register_to_config(text=text, patch=patch)

    @torch.no_grad()
    def draw(self, captions: Sequence[str], steps: int = 1, seed: int = 0) -> Tensor:
        """Return images in [-1, 1], ``[n, c, s, s]``, for as many captions.

        Args:
            captions: The texts to draw, n of them.
            steps: The number of steps: 1, 2 or 4.
            seed: The seed of the noise.
        """
        config, draws = self.unet.config, torch.Generator().manual_seed(seed)
        told = caption_vectors(captions, 4 * config.block_out_channels[0], self.config.text)
        side = config.sample_size
        noisy = torch.randn(len(captions), config.in_channels, side, side, generator=draws)
        self.scheduler.set_timesteps(steps)
        for timestep in self.scheduler.timesteps:
            output = self.unet(noisy, timestep, class_labels=told, return_dict=False)[0]
            noisy, _ = self.scheduler.step(
                output, timestep, noisy, generator=draws, return_dict=False
            )
        return PatchCodec(self.config.patch).decode(noisy).clamp(-1, 1)

    def __call__(self, caption: str, steps: int = 1, seed: int = 0) -> Image.Image:
        """Return a picture for a caption; arguments as in :meth:`draw`."""
        (image,) = self.draw([caption], steps, seed)
        return Image.fromarray(as_bytes(image))
