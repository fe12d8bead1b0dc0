"""Load a causal language model and find its parts by one name, whatever its family calls them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, Conv1D
from transformers.utils.logging import disable_progress_bar

from okml.accelerator import forked_rng, has_quantized_weights, pick_device
from okml.data.models import document_start, local_model
from okml.errors import DataError, ParameterError, ResourceError
from okml.runtime import pick_dtype, show_progress

Quantization = Literal["int8", "nf4"]

BLOCK_LISTS = ("layers", "h")
"""Names of the list of decoder layers inside a base model: Llama, Gemma, GPT-NeoX; GPT-2."""

MLP_PARTS = (
    ("up_proj", "gate_proj", "down_proj"),  # Llama, Gemma
    ("dense_h_to_4h", None, "dense_4h_to_h"),  # GPT-NeoX
    ("c_fc", None, "c_proj"),  # GPT-2
)
"""Names of (in, gate, out) inside a decoder layer's ``mlp``."""

CHAT_MARKERS = frozenset({"<|im_start|>"})
DOCUMENT_SEPARATOR = "<|endoftext|>"


@dataclass(frozen=True)
class Mlp:
    """The linear maps of one MLP; ``gate`` is None where the MLP has none.

    Neuron j is row j of ``up`` and ``gate`` and column j of ``down``; its activation is the j-th
    input of ``down``.
    """

    up: nn.Module
    gate: nn.Module | None
    down: nn.Module

    @property
    def width(self) -> int:
        """Number of neurons m."""
        inputs: Any = self.down.nx if isinstance(self.down, Conv1D) else self.down.in_features
        return int(inputs)

    def neuron_weights(self) -> dict[str, Tensor]:
        """Return each neuron's weights as rows: ``up``, ``gate`` if there is one, ``down`` [m, d].

        Raises:
            ParameterError: If the weights are quantized, so that they have no rows to read.
        """
        weights = {"up": _rows(self.up)}
        if self.gate is not None:
            weights["gate"] = _rows(self.gate)
        return weights | {"down": _rows(self.down).T}


def _rows(linear: nn.Module) -> Tensor:
    """Return a linear map's weight as [out, in]."""
    weight = linear.weight
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        raise ParameterError(
            "Neuron weights cannot be read from a quantized model.", "Load it in bfloat16."
        )
    weight = weight.detach()
    return weight.T if isinstance(linear, Conv1D) else weight


@dataclass(frozen=True)
class LanguageModel:
    """A frozen causal language model with its tokenizer.

    Attributes:
        name: The name or folder that it was asked for by.
        model: The Hugging Face model with its head, in eval mode.
        tokenizer: The tokenizer; None for a model built from a configuration alone.
        document_start: Id of the token put in front of every text.
        quantization: The form of the stored weights, None for plain floating point.
        folder: The folder that the weights were read from; None if they were not read.
    """

    name: str
    model: Any
    tokenizer: Any
    document_start: int
    quantization: Quantization | None = None
    folder: Path | None = None

    @property
    def base(self) -> Any:
        """The model without its head."""
        return self.model.base_model

    @property
    def blocks(self) -> nn.ModuleList:
        """The decoder layers, first to last."""
        return find_blocks(self.base)[1]

    @property
    def n_layers(self) -> int:
        """Number of decoder layers L."""
        return len(self.blocks)

    @property
    def d_model(self) -> int:
        """Width d of the residual stream."""
        return int(self.model.config.hidden_size)

    @property
    def device(self) -> torch.device:
        """Where the token ids go in."""
        return torch.device(self.model.get_input_embeddings().weight.device)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the residual stream."""
        dtype: torch.dtype = self.model.dtype
        return dtype

    def text_ids(self, text: str) -> list[int]:
        """Return the ids of a text, document start first."""
        return [self.document_start, *self.tokenizer(text, add_special_tokens=False)["input_ids"]]

    def block(self, layer: int) -> nn.Module:
        """Return decoder layer ``layer`` (0-based).

        Raises:
            ParameterError: If there is no such layer.
        """
        if not 0 <= layer < self.n_layers:
            raise ParameterError(f"No layer {layer}: {self.name} has 0 to {self.n_layers - 1}.")
        return self.blocks[layer]

    def mlp(self, layer: int) -> Mlp:
        """Return the MLP of decoder layer ``layer``.

        Raises:
            ParameterError: If there is no such layer or its MLP is of an unknown family.
        """
        mlp = getattr(self.block(layer), "mlp", None)
        for up, gate, down in MLP_PARTS:
            if hasattr(mlp, up) and hasattr(mlp, down):
                gating = None if gate is None else getattr(mlp, gate)
                return Mlp(getattr(mlp, up), gating, getattr(mlp, down))
        raise ParameterError(f"The MLP of {type(self.model).__name__} is of an unknown family.")


def find_blocks(base: Any) -> tuple[str, nn.ModuleList]:
    """Return the name and the list of the decoder layers of a base model.

    Raises:
        ParameterError: If the architecture is not a plain stack of decoder layers.
    """
    for name in BLOCK_LISTS:
        blocks = getattr(base, name, None)
        if isinstance(blocks, nn.ModuleList):
            return name, blocks
    raise ParameterError(
        f"{type(base).__name__} has no list of decoder layers.",
        "Llama, Gemma, GPT-NeoX (Pythia) and GPT-2 are known.",
    )


def document_start_id(name: str, tokenizer: Any) -> int:
    """Return the id that starts a document in pre-training.

    The catalog says so for its models. For others it is the beginning-of-sequence token, unless
    that is missing or opens a chat turn, where no document ever began; then it is the document
    separator.

    Raises:
        DataError: If the vocabulary has no such token, or the catalog's one has another id.
    """
    vocabulary = tokenizer.get_vocab()
    if (catalogued := document_start(name)) is not None:
        if vocabulary.get(catalogued.token) != catalogued.id:
            raise DataError(f"The tokenizer of {name} is not the catalogued one.")
        return catalogued.id
    declared = tokenizer.bos_token
    token = DOCUMENT_SEPARATOR if declared in {None, *CHAT_MARKERS} else declared
    if token not in vocabulary:
        raise DataError(f"The tokenizer of {name} has no token that starts a document.")
    return int(vocabulary[token])


def load_causal_lm(
    name_or_path: str | Path,
    dtype: str = "float32",
    device: str = "auto",
    quantization: Quantization | None = None,
) -> LanguageModel:
    """Load a causal language model in eval mode.

    Args:
        name_or_path: A folder with ``config.json``, weights and tokenizer, or a cataloged name.
        dtype: Type of weights and activations: float32, bfloat16 or float16.
        device: The device of the model; ``auto`` takes the accelerator if there is one.
        quantization: ``int8`` (LLM.int8, what the paper used for 70B) or ``nf4``, on a GPU.

    Raises:
        DataError: If the model is not there, incomplete, or behind a license form.
        ResourceError: If quantization was asked for without a GPU and bitsandbytes.
    """
    folder = local_model(str(name_or_path))
    if not show_progress():
        disable_progress_bar()
    target = pick_device(device)
    options: dict[str, Any] = {"dtype": pick_dtype(dtype), "local_files_only": True}
    if quantization is not None:
        options["quantization_config"] = _bitsandbytes(quantization, options["dtype"], target)
        options["device_map"] = {"": target}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(folder, **options)
    except (OSError, ValueError, SafetensorError) as error:
        raise DataError(
            f"The model folder {folder} cannot be loaded: {error}",
            "Fetch it again, or pass a complete folder.",
        ) from error
    if quantization is None:
        model = model.to(target)
    name = str(name_or_path)
    start = document_start_id(name, tokenizer)
    return LanguageModel(name, model.eval(), tokenizer, start, quantization, folder)


def _bitsandbytes(
    quantization: Quantization, dtype: torch.dtype, device: torch.device
) -> BitsAndBytesConfig:
    if not has_quantized_weights(device):
        raise ResourceError(
            f"{quantization} weights need a GPU: CUDA, ROCm or XPU.",
            "Use dtype bfloat16, or layer-major streaming for a model larger than memory.",
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ResourceError(
            f"{quantization} weights need bitsandbytes.", "Run `pip install 'okml[gpu]'`."
        )
    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
    )


def randomize(lm: LanguageModel, seed: int, device: torch.device | None = None) -> LanguageModel:
    """Return the untrained control: the same architecture and tokenizer, freshly initialized.

    Weights are drawn in float32 on the CPU, so that a seed gives the same control for every type
    and device.

    Args:
        lm: The trained model; its weights are not read.
        seed: The seed of the weights.
        device: The device of the control; by default that of the model.

    Raises:
        ParameterError: If the model is quantized.
    """
    if lm.quantization is not None:
        raise ParameterError(
            "A quantized model has no untrained control.", "Load it without quantization."
        )
    with forked_rng():
        torch.manual_seed(seed)
        fresh = AutoModelForCausalLM.from_config(lm.model.config, dtype=torch.float32)
    fresh = fresh.to(device=device or lm.device, dtype=lm.dtype).eval()
    return replace(lm, name=f"{lm.name} (untrained, seed {seed})", model=fresh, folder=None)
