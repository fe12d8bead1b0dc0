"""Sub-words of code tuples, as YouTube's SPM-SID learns them (arXiv 2306.08121).

Codes that often occur together in the training events become one piece with a row, which
memorizes; a rare tuple is split into shorter pieces that others share, which generalizes.

The paper takes SentencePiece. Its unigram model learns no piece of two codes on the 1,472 known
films of MovieLens-100K (4 levels of 32 codes, 256 rows), so pieces are those of byte-pair encoding,
which SentencePiece has too: the most frequent pair of neighbors is merged again and again.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from okml.errors import ParameterError
from okml.seqrec.interactions import Ints
from okml.video_workshop.items.quantization import Codes
from okml.video_workshop.items.shared_rows import Places

# Each code of each level is a private-use character, so a piece cannot confuse levels.
FIRST, LETTERS = 0xF0000, 0xFFFE  # Unicode's private plane 15


def learned_pieces(codes: Codes, size: int, counts: Ints, rows: int) -> tuple[Places, int]:
    """Give each piece of code tuples a row, and each item the rows of its pieces.

    Every code is a piece, so the tuple of a new item always has one reading.

    Args:
        codes: Codes of all items, ``[items + 1, L]``; row 0 is ignored.
        size: K, codes of a level.
        counts: Events of each item in training, ``[items + 1]``. The tokenizer reads a tuple
            ``ceil(log2(1 + events))`` times, so that popular items shape the pieces more and an
            item without events does not at all.
        rows: Largest number of pieces, including the L K single codes.

    Returns:
        Places ``[items + 1, L]``, 0 after an item's last piece, and the number of pieces.

    Raises:
        ParameterError: If there are more codes than rows, or than private-use characters.
    """
    levels = codes.shape[1]
    single = levels * size
    if single > min(rows, LETTERS):
        raise ParameterError(
            f"{levels} levels of {size:,} codes do not fit {rows:,} rows and {LETTERS:,} letters.",
            "Take more rows or fewer codes.",
        )
    words = _words(codes[1:], size)
    tokenizer = Tokenizer(BPE())
    trainer = BpeTrainer(
        vocab_size=rows,
        initial_alphabet=[chr(FIRST + code) for code in range(single)],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_read(words, counts[1:]), trainer)
    places = torch.zeros_like(codes)
    for item, found in enumerate(tokenizer.encode_batch(words), start=1):
        places[item, : len(found.ids)] = torch.tensor(found.ids) + 1
    return places, tokenizer.get_vocab_size()


def _words(codes: Codes, size: int) -> list[str]:
    """Write each tuple as a word of one character per level."""
    letters = codes + torch.arange(codes.shape[1]) * size + FIRST
    return ["".join(map(chr, word)) for word in letters.tolist()]


def _read(words: list[str], counts: Ints) -> Iterator[str]:
    """Yield each word ``ceil(log2(1 + events))`` times."""
    times = np.ceil(np.log2(1 + counts)).astype(np.int64)
    for word, often in zip(words, times.tolist(), strict=True):
        yield from [word] * often
