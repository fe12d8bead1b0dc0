"""The whole experiment in small: hand-made entities, random models, the gpu profile's settings.

Also a program, for tests that kill it.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import polars as pl
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from okml.space_time import entities
from okml.space_time.config import GPU, SpaceTimeProfile
from okml.space_time.entities import EntitySet, RegisteredSet
from okml.space_time.experiment import Experiment
from okml.space_time.extract import iter_states

PLACE, TIME, ZIP = "isles", "songs", "parishes"
DATA = ("hand_made", ("rows.csv",))
START = "<|endoftext|>"

# A syllable says in which country an isle lies, the next how far north, the last which kind it is.
COUNTRIES = {"bor": -110.0, "kel": -70.0, "mun": -10.0, "tas": 30.0, "vin": 80.0, "zor": 130.0}
NORTH = {"a": -30.0, "e": -10.0, "i": 10.0, "o": 30.0, "u": 50.0}
KINDS = {"port": "city", "mere": "lake", "fell": "mountain"}


def isles() -> EntitySet:
    """180 places: 6 countries, 3 types; a quarter of them is tested."""
    rng = np.random.default_rng(0)
    rows = []
    for country, vowel, ending, again in itertools.product(COUNTRIES, NORTH, KINDS, range(2)):
        rows.append(
            {
                "entity": f"{country.title()}{vowel}{ending} {'Old' if again else 'New'}",
                "is_test": rng.random() < 0.25,
                "longitude": COUNTRIES[country] + rng.normal(0, 4),
                "latitude": NORTH[vowel] + rng.normal(0, 4),
                "country": f"{country.title()}_Land",
                "entity_type": KINDS[ending],
            }
        )
    return EntitySet(
        PLACE, "space", pl.DataFrame(rows), ("longitude", "latitude"),
        "country", "entity_type", None, "made by hand",
    )  # fmt: skip


def songs() -> EntitySet:
    """160 works from 1950 to 1989, two for each of 80 creators; the name tells the decade."""
    rng = np.random.default_rng(1)
    words = ("Waltz", "Swing", "Disco", "Techno")
    rows = []
    for creator, (decade, word) in itertools.product(range(20), enumerate(words)):
        for number in range(2):
            title, who = f"{word} {creator + 1}{'ab'[number]}", f"{word[:2]}o{creator}"
            rows.append(
                {
                    "entity": f"{who}'s {title}",
                    "title": title,
                    "creator": who,
                    "is_test": creator % 4 == 0,
                    "release_year": 1950 + 10 * decade + rng.integers(10),
                    "decade": 1950 + 10 * decade,
                }
            )
    return EntitySet(
        TIME, "time", pl.DataFrame(rows), ("release_year",),
        "decade", None, "creator", "made by hand",
    )  # fmt: skip


def parishes() -> EntitySet:
    """240 places, half of them ZIP codes whose first digits are the place."""
    rng = np.random.default_rng(2)
    rows = []
    for number in range(240):
        west, south = rng.integers(10, size=2)
        zip_code = number % 2 == 0
        rows.append(
            {
                "entity": f"{west}{south}{rng.integers(100, 999)}"
                if zip_code
                else f"Saint {'NSEW'[west % 4]}{number}",
                "is_test": number % 5 == 4,
                "longitude": -120.0 + 5 * west,
                "latitude": 30.0 + 2 * south,
                "state_id": f"S{west}",
                "entity_type": "zip" if zip_code else "town",
            }
        )
    return EntitySet(
        ZIP, "space", pl.DataFrame(rows), ("longitude", "latitude"),
        "state_id", "entity_type", None, "made by hand",
    )  # fmt: skip


REGISTRY = {
    PLACE: RegisteredSet(isles, "world_place", DATA),
    TIME: RegisteredSet(songs, "art", DATA),
    ZIP: RegisteredSet(parishes, "us_place", DATA),
}


def byte_tokenizer(
    texts: Iterable[str], special: Sequence[str] = (START,), start: str = START
) -> PreTrainedTokenizerFast:
    """Return a byte-pair tokenizer in the manner of GPT-2 and SmolLM2, trained on ``texts``.

    The first ids are the special tokens, and the last of these ends a text.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[*special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=start, eos_token=special[-1]
    )


def save_model(folder: Path, blocks: int, seed: int = 0) -> Path:
    """Save a random Llama of width 32 with a tokenizer that knows the entities."""
    names = [text for entry in REGISTRY.values() for text in entry.load().text()]
    tokenizer = byte_tokenizer(sorted(names))
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=blocks,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_models(folder: Path) -> list[Path]:
    """Save a model of two blocks and one of three."""
    return [save_model(folder / f"llama_{blocks}", blocks) for blocks in (2, 3)]


def save_vectors(folder: Path) -> Path:
    """Save word vectors in the form of the catalog's: the vector, then its norm and its rank."""
    rng = np.random.default_rng(3)
    words = ("old", "new", "saint", "waltz")
    path = folder / "vectors.json"
    table = {word: [*rng.normal(size=100).round(3), 1.0, 1] for word in words}
    path.write_text(json.dumps({"vectors": table}))
    return path


def settings(
    folders: Iterable[Path], placement: str = "layerwise", **changes: Any
) -> SpaceTimeProfile:
    """Return the gpu profile for these models, the last one held as ``placement`` says."""
    *small, large = (str(folder) for folder in folders)
    held = [(name, "resident") for name in small] + [(large, placement)]
    numbers: Mapping[str, Any] = {
        "device": "cpu",
        "seeds": [0, 1],
        "models": [
            {"name": name, "family": "tiny", "dtype": "bfloat16", "placement": how}
            for name, how in held
        ],
        "sets": [PLACE, TIME, ZIP],
        "place_set": PLACE,
        "time_set": TIME,
        "type_set": PLACE,
        "zip_set": ZIP,
        "prompt_sets": [PLACE, TIME],
        "table_sets": [PLACE, TIME],
        "held_out": "frequent",
        "holdout_min_rows": 10,
        "word_vectors": "glove_100d",
        "probe.mlp_epochs": 1,
        "probe.mlp_weight_decays": [0.1],
        "neurons.random_draws": 2,
        "steering.entities": 6,
        "steering.strengths": [-0.25, 0.25],
        "steering.random_directions": 3,
        "steering.matched_neurons": 5,
        "steering.contexts": 6,
        "steering.swept_works": 4,
    }
    return GPU.override({**numbers, **changes})


def _fetched_from(name: str, files: Iterable[str] | None = None) -> dict[str, Any]:
    found = SimpleNamespace(source="made by hand", sha256="0" * 64)
    return dict.fromkeys(files or ("vectors.json",), found)


def _entries(topic: str, count: int = 9) -> list[str]:
    return [
        f"{topic} {number}: one of {count} made by hand in this room" for number in range(count)
    ]


@contextmanager
def hand_made(vectors: Path) -> Iterator[None]:
    """Replace the entity sets and word vectors by the hand-made ones."""
    with (
        mock.patch.dict(entities.REGISTRY, REGISTRY),
        mock.patch("okml.steps.fetched_from", _fetched_from),
        mock.patch("okml.space_time.study.fetch", return_value={"vectors.json": vectors}),
        mock.patch("okml.space_time.experiments.pinning.entries", _entries),
        mock.patch("okml.space_time.prompts.entries", _entries),
        # Of the few neurons of a tiny block most would be found, and no control would be left.
        mock.patch("okml.space_time.experiments.neuron_search.KEPT", 3),
    ):
        yield


def _die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _two_then_die(*arguments: Any, **options: Any) -> Iterator[Any]:
    yield from itertools.islice(iter_states(*arguments, **options), 2)
    _die()


DEATHS = {
    "nowhere": nullcontext,
    "extraction": lambda: mock.patch("okml.space_time.extract.iter_states", _two_then_die),
    "holdouts": lambda: mock.patch(
        "okml.space_time.experiments.holdouts.hold_out", side_effect=_die
    ),
}


def main(rooms: Path, folder: Path, death: str) -> None:
    """Run the experiment in ``folder`` with the models of ``rooms``, and die where told to."""
    models = (rooms / f"llama_{blocks}" for blocks in (2, 3))
    with hand_made(rooms / "vectors.json"), DEATHS[death]():
        profile = settings(models, "resident", resample=0.8, batch_tokens=64, keep_activations=True)
        Experiment(profile, folder).record()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
