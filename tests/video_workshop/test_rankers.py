"""Heads of several tasks, the loss over sample spaces, the value model, and the surrogate."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from okml.errors import ParameterError
from okml.training import TrainingSettings, fit
from okml.video_workshop.common.heads import Gate, MMoE, SharedBottom, multitask_loss
from okml.video_workshop.goals.impressions import ImpressionBatches, later_sums, next_requests
from okml.video_workshop.goals.rankers import (
    TASKS,
    Answers,
    Ranker,
    ValueModel,
    answers,
    content_regression,
    popularity,
    ranker_task,
)
from okml.video_workshop.goals.simulator import Situation, logging_policy, oracle, roll_out
from okml.video_workshop.goals.surrogate import (
    learn_surrogate,
    surrogate_agreement,
    user_days,
)
from okml.video_workshop.settings.goals import RankerSettings
from okml.video_workshop.settings.users import MultiTaskHeadSettings
from tests.video_workshop.goals_tiny import ITEMS, SETTINGS, USERS, watched, world

HEADS = MultiTaskHeadSettings(experts=3, expert_width=5, tower_width=4)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tiny():
    return world()


@pytest.fixture(scope="module")
def log(tiny):
    rng = np.random.default_rng(0)
    return roll_out(tiny, logging_policy(tiny, SETTINGS), SETTINGS, rng, 6, keep_states=True)


def test_each_task_mixes_the_experts_by_a_gate_of_its_own():
    """By hand: the mean of the experts by the shares of the gate, and a tower on it."""
    torch.manual_seed(0)
    heads, hidden = MMoE(("a", "b"), 7, HEADS).eval(), torch.randn(6, 7)
    found = heads(hidden)
    assert list(found) == ["a", "b"]
    experts = (hidden @ heads.experts.linear.weight.T + heads.experts.linear.bias).relu()
    for task, logit in found.items():
        share = (hidden @ heads.gates[task].linear.weight.T).softmax(1)
        bottom = (share[..., None] * experts.view(6, 3, 5)).sum(1)
        torch.testing.assert_close(logit, heads.towers[task](bottom)[:, 0])


def test_a_shared_bottom_is_one_layer_as_wide_as_all_experts():
    torch.manual_seed(0)
    heads, hidden = SharedBottom(("a", "b"), 7, HEADS), torch.randn(6, 7)
    found = heads(hidden)
    assert list(found) == ["a", "b"]
    layer = heads.bottom.linear
    bottom = (hidden @ layer.weight.T + layer.bias).relu()
    assert bottom.shape == (6, 3 * 5)
    for task, logit in found.items():
        torch.testing.assert_close(logit, heads.towers[task](bottom)[:, 0])


def test_gate_dropout_closes_one_expert_in_training_and_never_the_only_one():
    gate = Gate(4, 3, dropout=1.0)
    shares = gate.weights(torch.randn(200, 4))
    assert ((shares == 0).sum(1) == 1).all()
    assert torch.allclose(shares.sum(1), torch.ones(200))
    assert (gate.eval().weights(torch.randn(200, 4)) > 0).all()
    assert (Gate(4, 1, dropout=1.0).weights(torch.randn(9, 4)) == 1).all()


def test_a_task_without_labels_moves_nothing():
    heads = MMoE(("click", "watch"), 7, HEADS)
    logits = heads(torch.randn(4, 7))
    labels = {task: torch.ones(4) for task in logits}
    spaces = {"click": torch.tensor([True] * 4), "watch": torch.tensor([False] * 4)}
    losses = multitask_loss(logits, labels, spaces)
    losses["loss"].backward()
    assert losses["watch"] == 0
    assert all(part.grad.abs().sum() == 0 for part in heads.towers["watch"].parameters())
    assert heads.towers["click"][0].weight.grad.abs().sum() > 0


def test_a_loss_is_the_mean_over_its_own_examples():
    logits = {"like": torch.tensor([0.0, 2.0, 9.0])}
    labels = {"like": torch.tensor([1.0, 0.0, 0.5])}
    found = multitask_loss(logits, labels, {"like": torch.tensor([True, True, False])})
    by_hand = (np.log(2) + np.log(1 + np.exp(2))) / 2
    assert found["like"].item() == pytest.approx(by_hand)
    assert found["loss"].item() == pytest.approx(by_hand)


def test_the_value_of_an_impression_by_hand():
    found = {"click": np.array([0.5]), "watch": np.array([0.8]), "like": np.array([0.1]),
             "hate": np.array([0.02])}  # fmt: skip
    value = ValueModel({"click": -0.45, "watch": 1, "like": 0.5, "hate": -2})
    assert value(found)[0] == pytest.approx(0.5 * (0.8 - 0.45 + 0.05) - 0.04)
    with pytest.raises(ParameterError, match="No answer for click"):
        ValueModel({"watch": 1.0})({"watch": np.ones(1)})


def test_later_responses_and_next_requests_by_hand():
    users = np.array([3, 5, 3, 5, 3, 3])
    following, continued = next_requests(users)
    assert following.tolist() == [2, 3, 4, 3, 5, 5]
    assert continued.tolist() == [True, True, True, False, True, False]
    turns = np.array([0, 0, 1, 1, 2, 0])  # the last request is of another day
    in_session = continued & np.array([True, True, True, True, False, False])
    found = later_sums(np.arange(6.0)[:, None], following, in_session, turns, 0.5)
    assert found[:, 0].tolist() == [0.5 * (2 + 0.5 * 4), 0.5 * 3, 0.5 * 4, 0, 0, 0]


def test_a_batch_says_where_the_shown_items_stand(log):
    batch = ImpressionBatches(log, CPU).batch(np.arange(50), np.random.default_rng(0))
    assert torch.equal(batch.candidates.gather(1, batch.places), batch.items)
    assert batch.recent.min() >= 0
    assert torch.equal(batch.response("watch"), torch.from_numpy(log.watched[:50]))


@pytest.mark.parametrize("kind", ["two_tower", "mlp", "transformer"])
def test_a_ranker_learns_clicks_and_its_table_is_its_answer(tiny, log, kind):
    torch.manual_seed(0)
    content = torch.from_numpy(np.vstack([np.zeros(8), watched()[1]]).astype(np.float32))
    settings = RankerSettings(width=8, heads=HEADS, learning_rate=1e-2)
    ranker = Ranker(USERS, content, kind, TASKS, settings, SETTINGS.recent, SETTINGS.slate)
    training = TrainingSettings(batch_size=64, max_epochs=4, device="cpu")
    fit(ranker_task(ranker, settings), ImpressionBatches(log, CPU), training)
    ranker.eval()
    recent = log.recent.astype(np.int64)
    found = answers(ranker, log.users, log.items, recent)
    assert set(found) == set(TASKS)
    assert roc_auc_score(log.clicked.ravel(), found["click"].ravel()) > 0.6
    kept = Answers(ranker)
    assert (kept.tables is None) == ranker.reads_clicks
    again = kept.click(log.users, log.items, recent)
    assert again == pytest.approx(found["click"], abs=1e-5)
    if kept.tables is not None:
        assert kept.tables["click"].shape == (USERS, ITEMS)
    situation = Situation(log.users[:9], log.items[:9], recent[:9], np.zeros((9, 4)))
    assert kept.score(ValueModel({"watch": 1.0}))(situation) == pytest.approx(
        (found["click"] * found["watch"])[:9], abs=1e-5
    )


def test_a_place_explains_what_is_not_looked_at(tiny):
    """Items are shown at random places; the ranker's own logits know nothing of where."""
    torch.manual_seed(0)
    policy = oracle(tiny, "random", SETTINGS)
    log = roll_out(tiny, policy, SETTINGS, np.random.default_rng(0), 20, keep_states=True)
    content = torch.zeros(ITEMS + 1, 1)
    settings = RankerSettings(width=4, heads=HEADS, learning_rate=2e-2)
    ranker = Ranker(USERS, content, "mlp", ("click",), settings, 0, SETTINGS.slate)
    training = TrainingSettings(batch_size=64, max_epochs=6, device="cpu")
    fit(ranker_task(ranker, settings), ImpressionBatches(log, CPU), training)
    rate = log.clicked.mean(0)
    logit = np.log(rate / (1 - rate))
    shift = ranker.place.weight[:, 0].detach().numpy()
    assert shift - shift[0] == pytest.approx(logit - logit[0], abs=0.25)
    asked = torch.tensor([0]), torch.tensor([[5, 5, 5, 5, 5]]), torch.zeros(1, 0, dtype=int)
    own = ranker.eval()(*asked)["click"].ravel()  # a product may round equal rows differently
    assert own.tolist() == pytest.approx([own[0].item()] * SETTINGS.slate)
    assert (ranker.shown(*asked)["click"].diff() < 0).all()


def test_simple_click_models_against_counting_and_a_known_taste(tiny, log):
    chance = popularity(log, ITEMS)
    shown = (log.items == 7).sum()
    expected = (log.clicked[log.items == 7].sum() + 20 * log.clicked.mean()) / (shown + 20)
    assert chance(log.users[:1], np.array([[7]]), log.recent[:1]) == pytest.approx(expected)
    recent = log.recent.astype(np.int64)
    found = content_regression(log, tiny.features)(log.users, log.items, recent)
    assert found.mean() == pytest.approx(log.clicked.mean(), abs=1e-3)


def test_a_surrogate_finds_what_brings_people_back(tiny):
    """A world of many days, in which returning depends on known weights."""
    rng = np.random.default_rng(1)
    long = roll_out(tiny, logging_policy(tiny, SETTINGS), SETTINGS, rng, 400, keep_states=True)
    days = user_days(long)
    frame = learn_surrogate(days)
    assert frame["response"].to_list() == ["click", "watch", "like", "hate"]
    weight = dict(frame.select("response", "weight").iter_rows())
    assert weight["click"] < 0  # over ten seeds -3.2, with a standard deviation of 0.5
    # The same weight, with an interval over users, times the sign that is true in the world.
    found = surrogate_agreement(days.with_columns(seed=0), "click", {0: tiny.worth.click})
    assert found.mean == pytest.approx(-weight["click"], rel=1e-3)
    assert found.low < found.mean < found.high
    assert found.n == days["user"].n_unique()
