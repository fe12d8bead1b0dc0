"""FID and CLIP score of drawn images, from the features of each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizer

from okml.add.features import CLIP, ImageInput
from okml.add.frechet import frechet_distance, moments
from okml.add.full_scale.prompts import Tokenize, tokenizer_of
from okml.data import local_model
from okml.errors import ResourceError

GROUPS = 10  # groups of drawn images, each left out once


class GenerationScores:
    """FID and CLIP score, fed in batches.

    Args:
        device: The device of the networks.
        inception: A network from images ``[B, 3, H, W]`` uint8 to features ``[B, d]``.
        clips: The CLIP models by suffix of their score. One of another family than c_text shows
            how independent the score is.
        side: The side of the real images. Images that were drawn larger are resized to it as
            those were, since the networks of the scores resize in other ways, and that of FID
            without a filter; None to take all images as they are.
    """

    def __init__(
        self,
        device: torch.device,
        inception: nn.Module,
        clips: Mapping[str, ClipSimilarity] | None = None,
        side: int | None = None,
    ) -> None:
        self.device = device
        self.resize = ImageInput(side, (0.0,) * 3, (1.0,) * 3)
        self.inception = inception.to(device)
        self.clips = {suffix: clip.to(device) for suffix, clip in (clips or {}).items()}
        self.real: list[Tensor] = []
        self.drawn: list[Tensor] = []
        self.cosines: dict[str, list[Tensor]] = {suffix: [] for suffix in self.clips}

    def add_real(self, images: Tensor) -> None:
        """Take in real images in [-1, 1], ``[B, 3, H, W]``."""
        self.real.append(self._features(self._pixels(images)))

    @torch.no_grad()
    def add_generated(self, images: Tensor, prompts: Sequence[str]) -> None:
        """Take in generated images, ``[B, 3, H, W]``, and the prompts they were drawn for."""
        pixels = self._pixels(images)
        self.drawn.append(self._features(pixels))
        for suffix, clip in self.clips.items():
            self.cosines[suffix].append(clip(pixels, prompts).cpu().double())

    def _pixels(self, images: Tensor) -> Tensor:
        """Return images in [-1, 1] as pictures of the side have them, uint8."""
        shown = self.resize(images.to(self.device).clamp(-1, 1))
        return (shown.clamp(0, 1) * 255).round().to(torch.uint8)

    @torch.no_grad()
    def _features(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.inception(pixels)
        return features.cpu().double()

    def compute(self) -> dict[str, list[float]]:
        """Return ``fid`` and each ``clip_score``, which are cosines and not 100 times those.

        Each is a list: the score of everything, then without each group of images. What was
        generated is forgotten after that; the real images stay.
        """
        real, drawn = moments(torch.cat(self.real)), torch.cat(self.drawn)
        cosines = {suffix: torch.cat(parts) for suffix, parts in self.cosines.items()}
        groups = torch.arange(len(drawn)) % min(GROUPS, len(drawn))
        kept = [groups >= 0, *(groups != group for group in range(int(groups.max()) + 1))]
        self.drawn, self.cosines = [], {suffix: [] for suffix in self.clips}
        return {
            "fid": [frechet_distance(real, moments(drawn[rows])) for rows in kept],
            **{
                f"clip_score{suffix}": [float(each[rows].mean()) for rows in kept]
                for suffix, each in cosines.items()
            },
        }


class ClipSimilarity(nn.Module):
    """The cosine between an image and its prompt in the joint space of a CLIP model.

    Images are resized on their device as CLIP's own preprocessing does (bicubic, antialiased); all
    are square here, so nothing is cropped.
    """

    def __init__(self, model: CLIPModel, tokenize: Tokenize) -> None:
        super().__init__()
        self.model = model.eval()
        self.tokenize = tokenize
        side = model.config.vision_config.image_size
        self.images = ImageInput(side, CLIP.mean, CLIP.std)

    @classmethod
    def load(cls, name: str) -> ClipSimilarity:
        """Return the model of a catalog entry."""
        folder = local_model(name)
        model = CLIPModel.from_pretrained(folder, use_safetensors=True)
        return cls(model, tokenizer_of(CLIPTokenizer.from_pretrained(folder)))

    def forward(self, pixels: Tensor, prompts: Sequence[str]) -> Tensor:
        """Return ``[B]`` of images ``[B, 3, H, W]`` uint8 and as many prompts."""
        ids = self.tokenize(prompts).to(pixels.device)
        images = self.images(pixels.float() / 127.5 - 1).to(self.model.dtype)
        # The methods get_..._features return a tensor or an output, by release of transformers.
        seen = self.model.vision_model(pixel_values=images).pooler_output
        told = self.model.text_model(input_ids=ids).pooler_output
        return functional.cosine_similarity(
            self.model.visual_projection(seen).float(), self.model.text_projection(told).float()
        )


class InceptionFeatures(nn.Module):
    """The features of FID: torch-fidelity's port of the Inception-v3 that FID was defined with.

    Its first layer resizes images as TensorFlow 1 did, without antialiasing.

    Raises:
        ResourceError: If torch-fidelity is not installed.
        OSError: If its weights are neither here nor can be fetched.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            from torch_fidelity import FeatureExtractorInceptionV3
        except ModuleNotFoundError as error:
            raise ResourceError(
                f"FID needs {error.name or 'torch-fidelity'}.",
                'Install it with `pip install "okml[add]"`.',
            ) from None
        self.network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], verbose=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return ``[B, 2048]`` of images ``[B, 3, H, W]`` uint8."""
        features: Tensor = self.network(pixels)[0]
        return features
