"""The user model: what a vector may have seen, and what it must not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from okml.errors import ParameterError
from okml.video_workshop.common.data import STARS, ActionSet
from okml.video_workshop.common.table import IdTable
from okml.video_workshop.common.user_model import EventContext, IntentFeed, UserModel
from okml.video_workshop.settings.users import UserModelSettings

ITEMS, LENGTH, WIDTH = 12, 6, 8


def model(**changes):
    torch.manual_seed(0)
    settings = UserModelSettings(length=LENGTH, width=WIDTH, layers=2, heads=2, **changes)
    made = UserModel(IdTable(ITEMS, WIDTH, std=0.5), settings, genres=3)
    for parameter in made.parameters():  # biases and gaps count too
        torch.nn.init.normal_(parameter, std=0.3)
    with torch.no_grad():
        made.table.rows.weight[0].zero_()
    return made.eval()


def history(b=3, n=LENGTH):
    generator = torch.Generator().manual_seed(1)
    draw = lambda low, high: torch.randint(low, high, (b, n), generator=generator)  # noqa: E731
    return draw(1, ITEMS + 1), EventContext(draw(1, 5), draw(0, 7), draw(0, 24))


@pytest.mark.parametrize("intents", [False, True])
def test_a_vector_has_seen_no_later_event(intents):
    net, (items, context) = model(intents=intents), history()
    hidden, guessed = net.states(items, context)
    changed = items.clone()
    changed[:, 4:] = changed[:, 4:] % ITEMS + 1
    later = EventContext(context.actions.clone(), context.gaps.clone(), context.hours.clone())
    for field in (later.actions, later.gaps, later.hours):
        field[:, 4:] = 1
    other, other_guessed = net.states(changed, later)
    for one, two in zip(guessed or (), other_guessed or (), strict=True):
        torch.testing.assert_close(two[:, :4], one[:, :4])
        assert not torch.allclose(two[:, 4:], one[:, 4:])
    torch.testing.assert_close(other[:, :4], hidden[:, :4])
    assert not torch.allclose(other[:, 4:], hidden[:, 4:])


@pytest.mark.parametrize("intents", [False, True])
def test_padding_changes_nothing(intents):
    net, (items, context) = model(intents=intents), history()
    short = EventContext(context.actions[:, :4], context.gaps[:, :4], context.hours[:, :4])
    alone = net(items[:, :4], context=short)
    padded = items.clone()
    padded[:, 4:] = 0
    torch.testing.assert_close(net(padded, context=context)[:, :4], alone)
    torch.testing.assert_close(net.last(padded, context=context), alone[:, -1])
    torch.testing.assert_close(net.last(items, context=context, padded=False),
                               net(items, context=context)[:, -1])  # fmt: skip


def test_every_part_of_a_token_counts():
    net, (items, context) = model(), history()
    hidden = net(items, context=context)
    for name in ("actions", "gaps", "hours"):
        values = getattr(context, name).clone()
        values[:, 2] = values[:, 2] % 4 + 1
        other = net(items, context=replace(context, **{name: values}))
        torch.testing.assert_close(other[:, :2], hidden[:, :2])
        assert not torch.allclose(other[:, 2], hidden[:, 2])
    blind = model(actions=False, requests=False)
    assert torch.equal(blind(items, context=context), blind(items))


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_intent_vector_against_a_loop(exclusive):
    kinds = STARS if exclusive else ActionSet(("a", "b"), np.array([[0, 0], [1, 1]], bool), ("a",))
    torch.manual_seed(0)
    feed, hidden = IntentFeed(WIDTH, kinds, 3), torch.randn(2, 5, WIDTH)
    fed, found = feed(hidden)
    for row in range(2):
        for place in range(5):
            h = hidden[row, place]
            action, genre = feed.action(h), feed.genre(h)
            torch.testing.assert_close(found.action[row, place], action)
            torch.testing.assert_close(found.genre[row, place], genre)
            p = action.exp() / action.exp().sum() if exclusive else 1 / (1 + (-action).exp())
            z = [feed.of_action.weight @ p, feed.of_genre.weight @ (1 / (1 + (-genre).exp()))]
            votes = torch.stack([feed.attention(part)[0].exp() for part in z])
            expected = (votes[0] * z[0] + votes[1] * z[1]) / votes.sum()
            torch.testing.assert_close(fed[row, place], expected)


def test_intents_are_fed_to_the_upper_blocks():
    net, (items, context) = model(intents=True), history()
    before = net.states(items, context)
    assert before.intents.action.shape == (3, LENGTH, 4)
    assert before.intents.genre.shape == (3, LENGTH, 3)
    with torch.no_grad():
        net.layers[1].feed_forward.inner.weight.add_(0.3)  # above the middle: predictions stay
    above = net.states(items, context)
    torch.testing.assert_close(above.intents, before.intents)
    assert not torch.allclose(above.after, before.after)
    with torch.no_grad():
        net.intents.genre.bias.add_(1.0)
    assert not torch.allclose(net.states(items, context).after, above.after)
    assert model().states(items, context).intents is None


def test_errors():
    with pytest.raises(ParameterError, match="width"):
        UserModel(IdTable(ITEMS, WIDTH + 1), UserModelSettings(width=WIDTH))
    items, _ = history(n=LENGTH + 1)
    with pytest.raises(ParameterError, match="does not fit"):
        model()(items)
    with pytest.raises(ValidationError, match="two layers at least"):
        UserModelSettings(layers=1, intents=True)
