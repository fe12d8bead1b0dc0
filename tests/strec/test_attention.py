import numpy as np
import pytest
import torch

from okml.errors import ParameterError
from okml.seqrec.backbone import Backbone
from okml.seqrec.settings import BackboneSettings
from okml.strec.attention import attention_maps, history_statistics, singular_values


def of_each_history(weights: torch.Tensor) -> dict[str, torch.Tensor]:
    return history_statistics(weights, singular_values(weights))


def statistics(matrix) -> dict[str, float]:
    found = of_each_history(torch.as_tensor(matrix, dtype=torch.float64)[None, None])
    return {name: value.item() for name, value in found.items()}


def test_uniform_attention_is_rank_one_with_equal_columns():
    found = statistics(np.full((10, 10), 0.1))
    assert found["first_energy"] == pytest.approx(1)
    assert found["effective_rank"] == pytest.approx(1, abs=1e-6)
    assert found["row_cosine"] == pytest.approx(1)
    assert found["top5_mass"] == pytest.approx(0.5)


def test_attention_to_oneself_has_full_rank_and_no_common_rows():
    found = statistics(np.eye(10))
    assert found["first_energy"] == pytest.approx(0.1)
    assert found["effective_rank"] == pytest.approx(10)
    assert found["row_cosine"] == pytest.approx(0)


def test_all_on_the_newest_item():
    matrix = np.zeros((10, 10))
    matrix[:, -1] = 1
    found = statistics(matrix)
    assert found["top5_mass"] == found["last5_mass"] == pytest.approx(1)
    assert found["first_energy"] == pytest.approx(1)


def test_random_attention_against_numpy():
    rng = np.random.default_rng(0)
    a = rng.dirichlet(np.full(7, 0.3), size=7)
    found = statistics(a)
    unit = a / np.linalg.norm(a, axis=1, keepdims=True)
    cosines = [unit[i] @ unit[j] for i in range(7) for j in range(7) if i != j]
    sigma = np.linalg.svd(a, compute_uv=False)
    p = sigma / sigma.sum()
    mass = np.sort(a.mean(0))
    assert found["row_cosine"] == pytest.approx(np.mean(cosines))
    assert found["first_energy"] == pytest.approx(sigma[0] ** 2 / (sigma**2).sum())
    assert found["effective_rank"] == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert found["top5_mass"] == pytest.approx(mass[-5:].sum())


def test_shuffled_rows_agree_as_far_as_their_own_unevenness_makes_them():
    rng = np.random.default_rng(1)
    a = rng.dirichlet(np.full(8, 0.3), size=8)
    drawn = [statistics(rng.permuted(a, axis=1))["row_cosine"] for _ in range(4000)]
    error = 5 * np.std(drawn) / len(drawn) ** 0.5
    assert statistics(a)["shuffled_cosine"] == pytest.approx(np.mean(drawn), abs=error)
    assert statistics(np.full((5, 5), 0.2))["shuffled_cosine"] == pytest.approx(1)
    # Rows that all look at one item agree by more than their unevenness.
    same = np.zeros((8, 8))
    same[:, 3] = 1
    assert statistics(same)["shuffled_cosine"] == pytest.approx(1 / 8)


def test_statistics_are_means_over_heads():
    heads = torch.stack([torch.eye(6), torch.full((6, 6), 1 / 6)]).double()
    assert of_each_history(heads[None])["row_cosine"].tolist() == [pytest.approx(0.5)]
    of_each = of_each_history(heads[:, None])["row_cosine"]
    assert of_each.tolist() == [pytest.approx(0), pytest.approx(1)]


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_maps_are_those_the_model_uses(norm):
    torch.manual_seed(0)
    settings = BackboneSettings(length=6, width=8, heads=2, norm=norm, initial_std=0.5)
    model = Backbone(9, settings).eval()
    items = torch.randint(1, 10, (3, 6))
    first, second = attention_maps(model, items)
    assert first.shape == second.shape == (3, 2, 6, 6)
    block = model.blocks[0]
    tokens, context = model.embed(items, None, False)
    read = block.mixer_norm(tokens) if norm == "pre" else tokens
    mixed = first @ block.mixer.heads(block.mixer.value(read))
    torch.testing.assert_close(
        block.mixer.output(mixed.transpose(1, 2).flatten(2)), block.mixer(read, context)
    )
    assert first.triu(1).abs().max() == 0  # causal


def test_a_network_without_attention_weights_is_refused():
    settings = BackboneSettings(length=6, width=8, heads=2, causal=False, mixer="linrec")
    with pytest.raises(ParameterError, match="no matrix of weights"):
        attention_maps(Backbone(9, settings), torch.ones(1, 6, dtype=torch.long))
