import pytest
import torch
from torch import nn

from okml.periodic_behavior.arms import ARMS, Arm
from okml.periodic_behavior.networks import build, invariant_weights
from okml.periodic_behavior.settings import ProblemSettings
from okml.runtime import seed_everything

CONVNET = ProblemSettings(
    images="cifar10", examples=10, side=32, channels=2, epochs=1, batch=5, network="convnet"
)
RESNET = CONVNET.model_copy(update={"network": "resnet18"})
networks = pytest.mark.parametrize("problem", [CONVNET, RESNET], ids=["convnet", "resnet18"])


def exact(problem: ProblemSettings, arm: Arm) -> nn.Module:
    """Return a network in float64 whose normalization adds nothing to the variance."""
    seed_everything(0)
    network = build(problem, arm, 10.0).double()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1e-30
    return network


def images(count: int = 6) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1)).double()


@networks
@pytest.mark.parametrize("arm", ["invariant", "all_weights"])
def test_the_scale_of_all_convolutions_does_not_matter(problem: ProblemSettings, arm: str) -> None:
    network = exact(problem, ARMS[arm])
    before = network(images())
    with torch.no_grad():
        for weight in invariant_weights(network):
            weight *= 7
    torch.testing.assert_close(network(images()), before)


def test_each_layer_of_the_convnet_is_scale_invariant_by_itself() -> None:
    network = exact(CONVNET, ARMS["invariant"])
    before = network(images())
    for number, weight in enumerate(invariant_weights(network)):
        with torch.no_grad():
            weight *= 3 + number
        torch.testing.assert_close(network(images()), before)


def test_without_normalization_weights_begin_with_the_variance_of_he() -> None:
    """Its variance is 2 / (inputs of a unit); torch's default, with normalization, is a sixth."""
    wide = CONVNET.model_copy(update={"channels": 32})
    for arm, variance in (("plain", 2.0), ("invariant", 1 / 3)):
        seed_everything(0)
        for weight in invariant_weights(build(wide, ARMS[arm], 10.0))[1:]:
            fan_in = weight[0].numel()
            assert weight.var().item() * fan_in == pytest.approx(variance, rel=0.1)


def test_without_normalization_it_does() -> None:
    network = exact(CONVNET, ARMS["plain"])
    before = network(images()) - network.last.bias
    with torch.no_grad():
        for weight in invariant_weights(network):
            weight *= 2
    torch.testing.assert_close(network(images()) - network.last.bias, 2**4 * before)


@networks
def test_the_gradient_is_orthogonal_to_scale_invariant_weights(problem: ProblemSettings) -> None:
    network = exact(problem, ARMS["invariant"])
    weights = invariant_weights(network)
    loss = nn.functional.cross_entropy(network(images()), torch.arange(6))
    gradients = torch.autograd.grad(loss, weights)
    dot = sum((w * g).sum().item() for w, g in zip(weights, gradients, strict=True))
    assert abs(dot) < 1e-9
    assert all(float(each.norm()) > 1e-4 for each in gradients)


@networks
def test_all_that_is_trained_is_scale_invariant_and_the_last_layer_has_its_norm(
    problem: ProblemSettings,
) -> None:
    network = build(problem, ARMS["invariant"], 10.0)
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    assert [*map(id, trained)] == [*map(id, invariant_weights(network))]
    assert float(network.last.weight.norm()) == pytest.approx(10)


def test_sizes_are_the_papers() -> None:
    # Of the authors' networks with 32 first channels, counted by hand.
    convnet = build(CONVNET.model_copy(update={"channels": 32}), ARMS["invariant"], 10.0)
    shapes = [(32, 3), (64, 32), (128, 64), (256, 128)]
    assert [tuple(w.shape) for w in invariant_weights(convnet)] == [(*s, 3, 3) for s in shapes]
    resnet = build(RESNET.model_copy(update={"channels": 64}), ARMS["all_weights"], 10.0)
    stages = 0
    for inputs, outputs in ((64, 64), (64, 128), (128, 256), (256, 512)):
        stages += 9 * outputs * (inputs + 3 * outputs)
        stages += inputs * outputs if inputs != outputs else 0
    convolutions = sum(weight.numel() for weight in invariant_weights(resnet))
    assert convolutions == 9 * 3 * 64 + stages
