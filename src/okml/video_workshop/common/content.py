"""Content features of items: vectors of their titles and genres.

The vectors do not depend on events, so items without events have them too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import MultiLabelBinarizer, normalize
from torch import Tensor
from torch.nn import functional

from okml.data import local_model
from okml.data.cache import exclusive
from okml.data.digests import digest_of
from okml.data.logs.microlens import MicroLensName, load_features
from okml.errors import DataError
from okml.paths import atomic_write, data_roots
from okml.seqrec.axes import leading_axes
from okml.video_workshop.settings.data import TextEncoder, WatchLogSettings

Features = NDArray[np.float32]
TFIDF_WIDTH = 64
SENTENCE_MODEL = "minilm_l6"
LONGEST = 256  # tokens, the limit of sentence-transformers for this model
BATCH = 64

# MovieLens writes articles last: "Usual Suspects, The" and "Grand bleu, Le".
ARTICLES = ("The", "A", "An", "La", "Le", "Les", "L'", "Il", "Der", "Das", "Die", "Det", "O")
_MOVED = re.compile(rf"([^()]+?), ({'|'.join(ARTICLES)})(?= \(|\)|$)")


def film_texts(films: pl.DataFrame) -> list[str]:
    """Return the text of each film: the title, the year, the genres.

    Args:
        films: Columns ``title``, with the year in brackets, and ``genres``.
    """
    texts = []
    for title, genres in films.select("title", "genres").iter_rows():
        about = f" Genres: {', '.join(genres)}" if genres else ""
        texts.append(f"{article_first(title or 'unknown')}.{about}")
    return texts


def article_first(title: str) -> str:
    """Move an article from the end of a title, also of one in brackets, to its front."""

    def moved(found: re.Match[str]) -> str:
        name, article = found.groups()
        return f"{article}{name}" if article.endswith("'") else f"{article} {name}"

    return _MOVED.sub(moved, title)


def item_modalities(
    data: WatchLogSettings, films: pl.DataFrame, known: NDArray[np.bool_], seed: int
) -> dict[str, Features]:
    """Return the content features of items by modality, ``[items + 1, f_m]`` each.

    Args:
        data: Settings of the log, and of the choice between released vectors and titles.
        films: Titles and genres, a row for each item in the order of item numbers.
        known: Mask of the items on which text features are fitted, ``[items + 1]``.
        seed: Random seed of the axes of TF-IDF features.

    Raises:
        DataError: If vectors or weights are not available.
    """
    if not data.features:
        return {"text": film_features(films, data.text, seed, np.flatnonzero(known).tolist())}
    name = cast(MicroLensName, data.log)
    found: dict[str, Features] = {}
    for modality in data.features:
        vectors = normalize(load_features(name, modality, films["item"]))
        found[modality] = np.pad(vectors, ((1, 0), (0, 0)))
    return found


def film_features(
    films: pl.DataFrame, encoder: TextEncoder, seed: int, known: Sequence[int] = ()
) -> Features:
    """Return a unit vector for each item, ``[items + 1, f]``; row 0, the padding, is zero.

    Args:
        films: Titles and genres, a row for each item in the order of item numbers.
        encoder: Name of the text encoder.
        seed: Random seed of the axes of TF-IDF features; a frozen encoder ignores it.
        known: Items on which the TF-IDF weights and axes are fitted; empty: all. A frozen encoder
            ignores it.

    Raises:
        DataError: If the encoder's weights are not available.
    """
    texts = film_texts(films)
    if encoder == "minilm":
        vectors = sentence_vectors(texts)
    else:
        fitted = np.asarray(known, np.int64) - 1 if len(known) else np.arange(len(films))
        vectors = ngram_vectors(texts, films["genres"].fill_null([]).to_list(), fitted, seed)
    return np.concatenate([np.zeros((1, vectors.shape[1]), np.float32), vectors])


def ngram_vectors(
    texts: Sequence[str], genres: Sequence[Sequence[str]], fitted: NDArray[np.int64], seed: int
) -> Features:
    """Return TF-IDF of character n-grams and genres on their leading axes, ``[t, f]``.

    Args:
        texts: Texts of all items.
        genres: Genres of all items.
        fitted: Positions of the texts on which the weights and the axes are fitted.
        seed: Random seed of the axes.
    """
    grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5))
    kinds = MultiLabelBinarizer(sparse_output=True)
    grams.fit([texts[place] for place in fitted])
    kinds.fit(genres)  # the vocabulary of genres, without weights
    both = sparse.hstack([grams.transform(texts), kinds.transform(genres)], format="csr")
    axes = leading_axes(both[fitted], TFIDF_WIDTH, seed)
    return np.asarray(normalize(both @ axes), dtype=np.float32)


def sentence_vectors(texts: Sequence[str]) -> Features:
    """Return the embeddings of a small sentence transformer, ``[t, 384]``.

    They are cached by a hash of texts and weights.

    Raises:
        DataError: If the weights are not available.
    """
    folder = local_model(SENTENCE_MODEL)
    weights = digest_of(folder / "model.safetensors", "sha256").value
    key = hashlib.sha256("\0".join([weights, *texts]).encode()).hexdigest()[:16]
    kept = Path("derived") / f"{SENTENCE_MODEL}-{key}.npy"
    if (found := _kept(kept)) is not None:
        return found
    cache = data_roots()[0]
    with exclusive(f"{kept.stem}.vectors", cache):
        if (found := _kept(kept)) is None:
            found = embed_sentences(folder, texts)
            with atomic_write(cache / kept, "wb") as handle:
                np.save(handle, found)
    return found


def _kept(name: Path) -> Features | None:
    for root in data_roots():
        if (root / name).is_file():
            try:
                return np.asarray(np.load(root / name), dtype=np.float32)
            except ValueError as error:
                raise DataError(f"{root / name} is damaged.", "Delete it.") from error
    return None


@torch.inference_mode()
def embed_sentences(folder: Path, texts: Sequence[str]) -> Features:
    """Return the normalized mean over tokens of the last layer, ``[t, d]``.

    This is what sentence-transformers does for models with mean pooling.

    Args:
        folder: Folder of a model and its tokenizer.
        texts: Texts, truncated to 256 tokens.
    """
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    # Batches of similar lengths reduce padding.
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    vectors = torch.empty(len(texts), model.config.hidden_size)
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        tokens = tokenizer(
            [texts[place] for place in places],
            padding=True, truncation=True, max_length=LONGEST, return_tensors="pt",
        )  # fmt: skip
        hidden = model(**tokens).last_hidden_state  # [b, n, d]
        vectors[places] = mean_over_tokens(hidden, tokens["attention_mask"])
    return vectors.numpy()


def mean_over_tokens(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the normalized means over real tokens, ``[b, d]``.

    Args:
        hidden: Token vectors, ``[b, n, d]``.
        mask: Attention mask, 1 for a real token, ``[b, n]``.
    """
    weights = mask[..., None].to(hidden.dtype)
    return functional.normalize((hidden * weights).sum(1) / weights.sum(1), dim=-1)
