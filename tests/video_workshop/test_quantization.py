import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from okml.errors import ParameterError
from okml.video_workshop.items import quantizers
from okml.video_workshop.items.code_quality import quantization_report
from okml.video_workshop.items.quantizers import RQVAE, RQKMeans, kmeans
from okml.video_workshop.settings.items import RQVAESettings

SMALL = RQVAESettings(hidden=(16,), latent=4, steps=150, batch=64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def vectors(n=200, f=8, seed=0):
    return torch.randn(n, f, generator=generator(seed))


def test_kmeans_finds_three_blobs():
    centers = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    x = centers.repeat_interleave(30, 0) + 0.1 * vectors(90, 2)
    found = kmeans(x, 3, 25, generator(1))
    means = x.view(3, 30, 2).mean(1)
    nearest = torch.cdist(means, found).min(1)
    torch.testing.assert_close(nearest.values, torch.zeros(3), atol=1e-4, rtol=0)


def test_converged_centers_stay_where_scikit_learn_would_move_them():
    x = vectors()
    found = kmeans(x, 5, 200, generator())
    again = KMeans(5, init=found.numpy(), n_init=1, max_iter=1).fit(x.numpy())
    np.testing.assert_allclose(again.cluster_centers_, found.numpy(), atol=1e-5)


def test_no_cluster_stays_empty_while_there_are_distinct_vectors():
    # All but one vector of the start coincide, so k-means++ is bound to draw duplicates at times.
    x = torch.cat([torch.zeros(50, 2), torch.tensor([[1.0, 0.0], [5.0, 0.0], [5.2, 0.0]])])
    for seed in range(5):
        found = kmeans(x, 4, 25, generator(seed))
        assert torch.cdist(x, found).argmin(1).unique().numel() == 4


def test_more_clusters_than_vectors():
    with pytest.raises(ParameterError, match="cannot have 5 clusters"):
        kmeans(vectors(4), 5, 10, generator())


def test_each_level_leaves_less():
    x = vectors()
    quantizer = RQKMeans(4, 8, 8).fit(x)
    codes, residuals = quantizer.assign(x - quantizer.mean)
    norms = residuals.square().sum((1, 2))
    assert (norms.diff() < 0).all()
    errors = [(x - quantizer.decode(codes[:, :level])).square().sum() for level in range(1, 5)]
    torch.testing.assert_close(torch.stack(errors), norms[1:])


def test_codes_of_new_items_do_not_move_the_codebooks():
    x = vectors()
    quantizer = RQKMeans(2, 8, 8).fit(x[:150])
    codes = quantizer.encode(x)
    assert codes.shape == (200, 2)
    torch.testing.assert_close(RQKMeans(2, 8, 8).fit(x[:150]).encode(x[:150]), codes[:150])


def test_a_quantizer_is_restored_from_its_state():
    x = vectors()
    quantizer = RQKMeans(2, 8, 8).fit(x)
    restored = RQKMeans(2, 8, 8)
    restored.load_state_dict(quantizer.state_dict())
    torch.testing.assert_close(restored.encode(x), quantizer.encode(x))


def gradients(loss, model):
    model.zero_grad()
    loss.backward(retain_graph=True)
    encoder = sum(
        float(p.grad.abs().sum()) for p in model.encoder.parameters() if p.grad is not None
    )
    book = model.codebooks.grad
    return encoder, 0.0 if book is None else float(book.abs().sum())


def test_losses_and_residuals_of_the_rqvae_by_hand():
    """A level quantizes what the levels before it have left, and nothing else."""
    torch.manual_seed(0)
    model = RQVAE(3, 4, 6, RQVAESettings(hidden=(5,), latent=2))
    x = torch.randn(7, 6)
    with torch.no_grad():
        model.codebooks.normal_()
        parts, codes, residuals = model.losses(x)
        quantized, decoded = 0.0, 0.0
        for row, z in enumerate(model.encoder(x)):
            left = z
            for level, vectors in enumerate(model.codebooks):
                nearest = vectors[(left - vectors).square().sum(1).argmin()]
                torch.testing.assert_close(vectors[codes[row, level]], nearest)
                torch.testing.assert_close(residuals[row, level], left)
                left = left - nearest
                quantized += left.square().sum().item() / len(x)
            decoded += (x[row] - model.decoder(z - left)).square().sum().item() / len(x)
    assert [part.item() for part in parts] == pytest.approx([decoded, quantized, quantized])


def test_each_loss_of_the_rqvae_moves_only_its_own_side():
    torch.manual_seed(0)
    model = RQVAE(3, 8, 8, SMALL)
    parts, _, _ = model.losses(vectors())
    encoder, book = gradients(parts.reconstruction, model)
    assert encoder > 0
    assert book == 0
    encoder, book = gradients(parts.codebook, model)
    assert encoder == 0
    assert book > 0
    encoder, book = gradients(parts.commitment, model)
    assert encoder > 0
    assert book == 0


def test_the_straight_through_gradient_is_that_of_the_quantized_latent():
    torch.manual_seed(0)
    model, x = RQVAE(2, 8, 8, SMALL), vectors(5)
    parts, codes, _ = model.losses(x)
    latent = model.sum_of_codes(codes).detach().requires_grad_()
    by_hand = (x - model.decoder(latent)).square().sum(-1).mean()
    torch.testing.assert_close(parts.reconstruction, by_hand)
    (at_latent,) = torch.autograd.grad(by_hand, latent)
    wanted = torch.autograd.grad(model.encoder(x), model.encoder[0].weight, at_latent)
    found = torch.autograd.grad(parts.reconstruction, model.encoder[0].weight)
    torch.testing.assert_close(found, wanted)


def test_training_an_rqvae_lowers_the_error_and_keeps_codes_in_use(monkeypatch):
    monkeypatch.setattr(quantizers, "DEAD_EVERY", 20)
    monkeypatch.setattr(quantizers, "DEAD_WINDOW", 64)
    torch.manual_seed(0)
    x = vectors() @ torch.randn(8, 8)
    model = RQVAE(2, 8, 8, SMALL).fit(x)
    report = quantization_report(model, x, x, np.ones((200, 1), bool))
    assert report["nmse"][2] < 1  # what the mean of all vectors leaves
    assert report["used"][1] > 0.8


def test_a_code_that_nobody_uses_starts_again_on_a_residual(monkeypatch):
    monkeypatch.setattr(quantizers, "DEAD_EVERY", 1)
    torch.manual_seed(0)
    model = RQVAE(1, 8, 8, SMALL.model_copy(update={"steps": 3}))
    start = model._start_codebooks

    def far_start(x, drawn):
        start(x, drawn)
        with torch.no_grad():
            model.codebooks[0, 0] = 1e3

    model._start_codebooks = far_start
    model.fit(vectors())
    assert model.codebooks.abs().max() < 100


def test_a_report_by_hand():
    x = torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [2.0, 0.0]])
    genres = np.array([[1, 0], [1, 1], [0, 1], [0, 1]], bool)
    quantizer = RQKMeans(1, 2, 2)
    quantizer.codebooks.copy_(torch.tensor([[[0.0, 1.0], [1.5, 0.0]]]))
    report = quantization_report(quantizer, x, x, genres)
    assert report["unique"][0] == 2
    assert report["collisions"][0] == 1.0
    level = report.row(1, named=True)
    # Codes (0, 0, 1, 1): two of the six pairs share one, with genres {1} {1,2} and {2} {2}.
    assert level["pairs"] == 2
    assert level["jaccard"] == pytest.approx((0.5 + 1) / 2)
    assert level["cosine"] == pytest.approx(1.0)
    assert level["perplexity"] == pytest.approx(2.0)
    mean = x.mean(0)
    assert level["nmse"] == pytest.approx(0.5 / float((x - mean).square().sum()))
    assert report["cosine"][0] == pytest.approx(2 / 6)
