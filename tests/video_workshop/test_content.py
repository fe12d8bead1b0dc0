import numpy as np
import polars as pl
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from okml.video_workshop.common import content
from okml.video_workshop.settings.data import WatchLogSettings

FILMS = pl.DataFrame(
    {
        "title": ["Usual Suspects, The (1995)", "Alien (1979)", "Aliens (1986)", None],
        "genres": [["Crime", "Thriller"], ["Horror"], ["Action", "Horror"], []],
    }
)


@pytest.mark.parametrize(
    ("title", "wanted"),
    [
        ("Usual Suspects, The (1995)", "The Usual Suspects (1995)"),
        ("Big Blue, The (Grand bleu, Le) (1988)", "The Big Blue (Le Grand bleu) (1988)"),
        ("Star Maker, The (Uomo delle stelle, L') (1995)",
         "The Star Maker (L'Uomo delle stelle) (1995)"),
        ("Die xue shuang xiong (Killer, The) (1989)", "Die xue shuang xiong (The Killer) (1989)"),
        ("Bad, the Ugly, The", "The Bad, the Ugly"),
        ("Paris, Texas (1984)", "Paris, Texas (1984)"),
        ("Theodore Rex (1995)", "Theodore Rex (1995)"),
        ("Mrs. Brown (Her Majesty, Mrs. Brown) (1997)",
         "Mrs. Brown (Her Majesty, Mrs. Brown) (1997)"),
    ],
)  # fmt: skip
def test_articles_go_back_to_the_front(title, wanted):
    assert content.article_first(title) == wanted


def test_what_an_encoder_reads():
    texts = content.film_texts(FILMS)
    assert texts[0] == "The Usual Suspects (1995). Genres: Crime, Thriller"
    assert texts[3] == "unknown."


def test_ngrams_put_a_sequel_beside_its_film_and_padding_at_zero():
    features = content.film_features(FILMS, "tfidf", 0)
    assert (features[0] == 0).all()
    near = features[1:] @ features[1:].T
    np.testing.assert_allclose(np.diag(near)[:3], 1, atol=1e-5)
    assert near[1, 2] > near[1, 0] + 0.2


def test_ngrams_of_known_items_do_not_depend_on_the_others():
    other = FILMS.with_columns(
        title=pl.when(pl.int_range(pl.len()) == 2).then(pl.lit("Heat (1995)")).otherwise("title")
    )
    known = [1, 2, 4]
    first, second = (content.film_features(f, "tfidf", 0, known) for f in (FILMS, other))
    np.testing.assert_allclose(first[known], second[known])
    assert np.abs(first[3] - second[3]).max() > 0.01


def test_the_seed_draws_axes_and_leaves_the_likeness_of_items():
    first, second = (content.film_features(FILMS, "tfidf", seed) for seed in (0, 1))
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_allclose(first @ first.T, second @ second.T, atol=1e-6)


def test_vectors_that_authors_extracted_stand_in_for_reading(monkeypatch):
    released = {"text": np.array([[3.0, 4.0], [0.0, 2.0]]), "video": np.eye(2)}
    monkeypatch.setattr(content, "load_features", lambda log, name, ids: released[name])
    data = WatchLogSettings(log="microlens_100k", features=("text", "video"))
    found = content.item_modalities(data, pl.DataFrame({"item": ["1", "2"]}), np.ones(3, bool), 0)
    assert list(found) == ["text", "video"]
    np.testing.assert_allclose(found["text"], [[0, 0], [0.6, 0.8], [0, 1]])


def test_the_mean_over_tokens_leaves_padding_out():
    hidden = torch.tensor([[[3.0, 0.0], [0.0, 4.0], [9.0, 9.0]]])
    found = content.mean_over_tokens(hidden, torch.tensor([[1, 1, 0]]))
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8]]))


@pytest.fixture
def sentence_model(tmp_path):
    """A folder with a BERT of one layer that knows four words."""
    words = {"[PAD]": 0, "[UNK]": 1, "space": 2, "film": 3, "war": 4}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    fast.save_pretrained(tmp_path)
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=5, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=8, max_position_embeddings=300,
        )
    ).save_pretrained(tmp_path)  # fmt: skip
    return tmp_path


def test_a_sentence_has_the_same_vector_alone_and_in_a_batch(sentence_model):
    texts = ["space film", "war", "space war film film", "film"]
    together = content.embed_sentences(sentence_model, texts)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for text, vector in zip(texts, together, strict=True):
        alone = content.embed_sentences(sentence_model, [text])[0]
        np.testing.assert_allclose(vector, alone, atol=1e-5)


def test_sentences_are_embedded_once(sentence_model, tmp_path, monkeypatch):
    monkeypatch.setenv("OKML_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(content, "local_model", lambda name: sentence_model)
    first = content.sentence_vectors(["space", "war film"])
    monkeypatch.setattr(content, "embed_sentences", None)
    np.testing.assert_array_equal(content.sentence_vectors(["space", "war film"]), first)
    with pytest.raises(TypeError):  # other texts have other vectors
        content.sentence_vectors(["space", "war"])
