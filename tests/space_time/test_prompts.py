from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from okml.errors import DataError, ParameterError
from okml.space_time.entities import REGISTRY, EntitySet
from okml.space_time.paper import SETS
from okml.space_time.prompts import (
    FILLER_TOKENS,
    FIRST_RANDOM_ID,
    PROMPTS,
    default_prompt,
    prompt,
    prompts_of,
    tokenize,
)

NAMES = [
    "Paris",
    "Iowa's Dallas County",
    "02138",
    "São Tomé",
    "the Queen's Bohemian Rhapsody",
    "C.I.A. Chief Quits After Leak.",
    "東京",
]

THINGS = ["short: no", *(f"{word}: a thing that people have made of wood or stone"
                         for word in ("abacus", "barrel", "cradle"))]  # fmt: skip

# The paper's prompts in the words of the authors' code, with the entity "Ab c.".
EXPECTED = {
    ("world_place", "empty"): "Ab c.",
    ("world_place", "empty_all_caps"): "AB C.",
    ("world_place", "random"): "Ab c.",
    ("world_place", "ordinary"): "Ab c.",
    ("world_place", "coords"): "What are the lat/lon coordinates of Ab c.",
    ("world_place", "where_is"): "Where is Ab c.",
    ("us_place", "empty"): "Ab c.",
    ("us_place", "random"): "Ab c.",
    ("us_place", "coords"): "What are the lat/lon coordinates of Ab c.",
    ("us_place", "where_us"): "Where in the United States is Ab c.",
    ("nyc_place", "empty"): "Ab c.",
    ("nyc_place", "random"): "Ab c.",
    ("nyc_place", "where_is"): "Where is Ab c.",
    ("nyc_place", "where_nyc"): "Where in New York City is Ab c.",
    ("historical_figure", "empty"): "Ab c.",
    ("historical_figure", "random"): "Ab c.",
    ("historical_figure", "when"): "When did Ab c.",
    ("historical_figure", "when_all_caps"): "When did AB C.",
    ("art", "empty"): "Ab c.",
    ("art", "random"): "Ab c.",
    ("art", "release"): "When was the release date of Ab c.",
    ("art", "empty_all_caps"): "AB C.",
    ("headline", "empty"): "Ab c.",
    ("headline", "empty_wo_period"): "Ab c",
    ("headline", "when_w_period"): "Publication date of: Ab c.",
    ("headline", "when_wo_period"): "Publication date of: Ab c",
}

ALL_VARIANTS = [(name, variant) for name in SETS for variant in PROMPTS[name]]


def entity_set(name: str, text: list[str]) -> EntitySet:
    frame = pl.DataFrame(
        {
            "entity": text,
            "year": [1900.0 + i for i in range(len(text))],
            "is_test": [i % 2 == 0 for i in range(len(text))],
        }
    )
    return EntitySet(name, "time", frame, ("year",), None, None, None, "hand-written")


def corpus() -> list[str]:
    prefixes = {style.prefix for styles in PROMPTS.values() for style in styles.values()}
    return [prefix + name for prefix in prefixes for name in NAMES] * 3


def byte_level() -> PreTrainedTokenizerFast:
    """A tokenizer in the manner of GPT-2: " Paris" and "Paris" are different words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_special_tokens(["<|im_end|>"])  # at the end of the vocabulary
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|endoftext|>")


def sentence_piece() -> PreTrainedTokenizerFast:
    """A tokenizer in the manner of Llama-2: a blank is implied before the first word."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=["<unk>", "<s>", "</s>"])
    extra = [chr(code) for code in range(0x21, 0x17F)]
    tokenizer.train_from_iterator([*corpus(), *extra], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


@pytest.fixture(autouse=True)
def dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("okml.space_time.prompts.entries", lambda _: THINGS)


@pytest.fixture(scope="module", params=[byte_level, sentence_piece])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return request.param()


def test_the_table_of_prompts_is_the_papers() -> None:
    assert {key: prompt(*key).text("Ab c.") for key in ALL_VARIANTS} == EXPECTED
    drawn = {key: prompt(*key).filler for key in ALL_VARIANTS if prompt(*key).filler}
    with_random = ("world_place", "us_place", "nyc_place", "historical_figure", "art")
    assert drawn == {(name, "random"): "random" for name in with_random} | {
        ("world_place", "ordinary"): "ordinary"  # a control of ours
    }


@pytest.mark.parametrize(("name", "variant"), ALL_VARIANTS)
def test_the_probed_token_ends_the_entity(tokenizer: Any, name: str, variant: str) -> None:
    tokens = tokenize(entity_set(name, NAMES), variant, tokenizer, tokenizer.bos_token_id, 0)
    style = prompt(name, variant)
    skip = 1 + FILLER_TOKENS * (style.filler is not None)
    for i, entity in enumerate(NAMES):
        ids = tokens[i]
        read = style.text(entity)
        assert ids[0] == tokenizer.bos_token_id
        assert tokenizer.bos_token_id not in ids[1:]
        # What follows the document start is the prompt, and nothing comes after the entity.
        assert tokenizer.decode(ids[skip:]) == read
        shown = read.removeprefix(style.prefix)
        last = tokenizer.decode(ids[-1:]).strip("\ufffd").strip()
        # One token may be a part of a character of several bytes: then it decodes to nothing.
        assert shown.endswith(last)
        assert last or ord(shown[-1]) > 127


def test_offsets_cut_the_flat_ids(tokenizer: Any) -> None:
    tokens = tokenize(entity_set("art", NAMES), "release", tokenizer, tokenizer.bos_token_id, 0)
    assert len(tokens) == len(NAMES)
    assert tokens.offsets[0] == 0
    assert tokens.offsets[-1] == len(tokens.ids)
    assert np.array_equal(np.concatenate([tokens[i] for i in range(len(tokens))]), tokens.ids)


def test_the_document_start_is_the_callers_choice(tokenizer: Any) -> None:
    tokens = tokenize(entity_set("art", NAMES), "empty", tokenizer, 5, 0)
    assert set(tokens.ids[tokens.offsets[:-1]]) == {5}
    with pytest.raises(ParameterError, match="document start"):
        tokenize(entity_set("art", NAMES), "empty", tokenizer, len(tokenizer), 0)


def test_random_tokens_are_seeded_and_ordinary(tokenizer: Any) -> None:
    found = entity_set("art", [f"name {i}" for i in range(200)])
    start = tokenizer.bos_token_id

    def drawn(seed: int) -> np.ndarray:
        tokens = tokenize(found, "random", tokenizer, start, seed)
        return np.stack([tokens[i][1 : 1 + FILLER_TOKENS] for i in range(len(tokens))])

    ids = drawn(3)
    assert np.array_equal(ids, drawn(3))
    assert not np.array_equal(ids, drawn(4))
    assert len(np.unique(ids, axis=0)) == 200  # a draw for each entity
    special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    ordinary = set(range(FIRST_RANDOM_ID, len(tokenizer))) - special
    assert set(ids.ravel()) <= ordinary
    # Uniform: 2,000 draws from about 320 ids miss an id with probability e^-6.
    assert len(set(ids.ravel())) > 0.97 * len(ordinary)


def test_ordinary_tokens_begin_an_entry_of_the_dictionary(tokenizer: Any) -> None:
    found = entity_set("world_place", [f"name {i}" for i in range(100)])

    def drawn(seed: int) -> list[str]:
        tokens = tokenize(found, "ordinary", tokenizer, tokenizer.bos_token_id, seed)
        assert tokenizer.decode(tokens[7][1 + FILLER_TOKENS :]) == "name 7"
        return [tokenizer.decode(tokens[i][1 : 1 + FILLER_TOKENS]) for i in range(len(tokens))]

    begun = drawn(3)
    # The first entry has fewer tokens than are drawn.
    assert set(begun) <= {entry[: len(start)] for start in begun for entry in THINGS[1:]}
    assert len(set(begun)) == len(THINGS) - 1
    assert begun == drawn(3) != drawn(4)


def test_other_variants_do_not_depend_on_the_seed(tokenizer: Any) -> None:
    found = entity_set("art", NAMES)
    one, two = (tokenize(found, "release", tokenizer, 0, seed) for seed in (1, 2))
    assert np.array_equal(one.ids, two.ids)


def test_a_small_vocabulary_has_no_random_tokens() -> None:
    tokenizer = Tokenizer(models.WordLevel({"name": 0, "<unk>": 1}, unk_token="<unk>"))
    small = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    with pytest.raises(ParameterError, match="vocabulary of 2 is too small"):
        tokenize(entity_set("art", ["name"]), "random", small, 0, 0)


def test_an_entity_without_tokens_is_refused() -> None:
    tokenizer = Tokenizer(models.BPE())  # knows no character
    silent = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    silent.add_tokens(["known"])
    with pytest.raises(DataError, match="no tokens for 'Paris'"):
        tokenize(entity_set("art", ["known", "Paris"]), "empty", silent, 0, 0)


def test_an_unknown_prompt_is_named_with_the_known_ones(tokenizer: Any) -> None:
    known = "empty, empty_wo_period, when_w_period, when_wo_period"
    with pytest.raises(ParameterError, match=f"'coords' for headline.\nPrompts: {known}"):
        tokenize(entity_set("headline", NAMES), "coords", tokenizer, 0, 0)
    with pytest.raises(ParameterError, match="Unknown entity set 'planets'"):
        tokenize(entity_set("planets", NAMES), "empty", tokenizer, 0, 0)


def test_a_stand_in_is_asked_like_the_set_it_stands_in_for() -> None:
    assert prompts_of("cities") is PROMPTS["world_place"]
    assert prompts_of("us_place_without_zip") is PROMPTS["us_place"]
    assert default_prompt("events") == "when_w_period"


def test_default_prompts_are_the_papers() -> None:
    chosen = {name: default_prompt(name) for name in SETS}
    assert chosen == {
        "world_place": "coords",
        "us_place": "where_us",
        "nyc_place": "where_nyc",
        "historical_figure": "when",
        "art": "release",
        "headline": "when_w_period",
    }
    assert all(default_prompt(name) in prompts_of(name) for name in REGISTRY)
