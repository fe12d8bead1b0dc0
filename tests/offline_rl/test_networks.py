"""Actor and critic as networks: causality, padding, and DistilGPT2 itself."""

import pytest
import torch
from transformers import GPT2Config, GPT2Model

from okml.errors import DataError
from okml.offline_rl.actor import DistilGPT2Actor, token_flops
from okml.offline_rl.critic import Critics, LSTMCritic
from okml.offline_rl.decision import BUCKETS, DecisionTransformer
from okml.offline_rl.settings import ActorSettings, CriticSettings
from tests.offline_rl.tables import episodes, whole_batch

SMALL = ActorSettings(width=12, layers=2, heads=3, dropout=0.1, attention_dropout=0.1)
ITEMS, LENGTH = 7, 6


def networks():
    torch.manual_seed(0)
    actor = DistilGPT2Actor(ITEMS, LENGTH, SMALL)
    critic = LSTMCritic(ITEMS, CriticSettings(width=5, hidden=4))
    torch.nn.init.normal_(critic.action)
    return {"actor": actor.eval(), "critic": critic.eval()}


@pytest.mark.parametrize("name", ["actor", "critic"])
def test_a_state_depends_on_its_prefix_alone(name):
    network = networks()[name]
    history = torch.tensor([[3, 1, 4, 1, 5, 2]])
    other = history.clone()
    other[0, 4:] = torch.tensor([6, 7])
    a, b = network(history), network(other)
    assert torch.equal(a[:, :4], b[:, :4])
    assert not torch.allclose(a[:, 4:], b[:, 4:])


@pytest.mark.parametrize("name", ["actor", "critic"])
def test_padding_on_the_right_changes_nothing(name):
    network = networks()[name]
    short = torch.tensor([[3, 1, 4]])
    padded = torch.tensor([[3, 1, 4, 0, 0, 0]])
    torch.testing.assert_close(network(short), network(padded)[:, :3])
    torch.testing.assert_close(network.last(short), network.last(padded))


def test_the_body_is_gpt2_of_transformers(tmp_path):
    """A saved GPT-2 and the actor that took its weights give the same hidden states."""
    config = GPT2Config(
        vocab_size=9, n_positions=16, n_embd=12, n_layer=2, n_head=3, bos_token_id=None,
        eos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(1)
    language = GPT2Model(config).eval()
    language.save_pretrained(tmp_path)
    actor = DistilGPT2Actor(
        ITEMS, LENGTH, SMALL.model_copy(update={"language_weights": str(tmp_path)})
    ).eval()
    history = torch.tensor([[3, 1, 4, 1, 5, 2], [2, 2, 7, 6, 5, 1]])
    with torch.no_grad():
        expected = language(inputs_embeds=actor.item(history)).last_hidden_state
        torch.testing.assert_close(actor(history)[..., :-1], expected, rtol=1e-4, atol=1e-5)
    assert (actor(history)[..., -1] == 1).all()


def test_language_weights_of_another_shape_or_none_are_refused(tmp_path):
    missing = SMALL.model_copy(update={"language_weights": str(tmp_path / "none")})
    with pytest.raises(DataError, match="no model"):
        DistilGPT2Actor(ITEMS, LENGTH, missing)
    config = GPT2Config(
        vocab_size=9, n_positions=16, n_embd=24, n_layer=2, n_head=3, bos_token_id=None,
        eos_token_id=None,
    )  # fmt: skip
    GPT2Model(config).save_pretrained(tmp_path)
    wide = SMALL.model_copy(update={"language_weights": str(tmp_path)})
    with pytest.raises(DataError, match="other shapes"):
        DistilGPT2Actor(ITEMS, LENGTH, wide)


def test_the_defaults_are_distilgpt2():
    """It is GPT-2 with half of its blocks; each weight of a matrix is two operations a token."""
    ours, whole = ActorSettings(), GPT2Config()
    assert (ours.width, ours.layers, ours.heads) == (whole.n_embd, whole.n_layer / 2, whole.n_head)
    with torch.device("meta"):
        blocks = GPT2Model(GPT2Config(n_layer=6)).h
    matrices = sum(part.numel() for part in blocks.parameters() if part.ndim == 2)
    assert token_flops(ours, 0) == 2 * matrices


def test_q_of_logged_actions_is_the_product_with_action_vectors():
    critics = Critics([networks()["critic"], networks()["critic"]])
    items, targets = torch.tensor([[3, 1, 4]]), torch.tensor([[1, 4, 2]])
    values, vectors = critics(items, targets)
    assert values.shape == (1, 3, 2)
    assert vectors.shape == (1, 3, 2, 7)
    every = torch.einsum("bnck,vck->bncv", vectors, critics.action_vectors())
    picked = every.gather(3, targets[..., None, None].expand(1, 3, 2, 1))[..., 0]
    torch.testing.assert_close(values, picked)


def test_a_fresh_critic_values_everything_alike():
    critic = LSTMCritic(ITEMS, CriticSettings(width=5, hidden=4))
    values = critic(torch.tensor([[3, 1]])) @ critic.item_matrix().T
    torch.testing.assert_close(values, values[..., :1].expand_as(values))
    assert values[0, 0, 0] != values[0, 1, 0]  # but states differ


def test_the_decision_transformer_listens_to_returns_and_asks_for_a_high_one():
    made = episodes([[1, 2, 3, 4], [2, 1, 5, 6]], [[0, 0.2, 0.2, 0.2], [0, 1.0, 1.0, 1.0]])
    torch.manual_seed(0)
    model = DecisionTransformer(ITEMS, LENGTH, SMALL, made.returns).eval()
    batch = whole_batch(made, 3)
    plain = DistilGPT2Actor(ITEMS, LENGTH, SMALL).eval()
    plain.load_state_dict(model.state_dict(), strict=False)
    # Goals are zero at the start: it is the actor that it starts from.
    torch.testing.assert_close(model(batch.items), plain(batch.items))
    torch.testing.assert_close(model.told(batch), plain(batch.items))
    model.goal.weight.data.normal_()
    returns, tokens = torch.tensor(made.returns), model.item(batch.items)
    # A goal is the tenth, twentieth or so of all returns that a return is in; padding has none.
    shares = (torch.arange(1, BUCKETS) / BUCKETS).float()
    tenth = (batch.returns[..., None] > returns.quantile(shares)).sum(-1)
    assert len(tenth.unique()) > 3
    told = model.read(tokens + model.goal.weight[tenth])
    torch.testing.assert_close(model.told(batch), told)
    highest = model.read(tokens + model.goal.weight[BUCKETS - 1])
    torch.testing.assert_close(model(batch.items), highest)
