"""The settings of the item graph: rules of edges, caps, and the merge.

The paper publishes none of these numbers. They are the chapter's own choices, after common
production implementations of Swing; the digest names the kinds of edges only.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from okml.settings import AtLeastOne, Count, Distinct, NonNegative, Positive, Power, Settings, rule

Source = Literal["pdp_rec", "search", "feed", "other"]
StrongRule = Literal["page_click", "cart_after_page", "next_page", "same_order"]
# Kinds of edges; their order in ``MergeSettings.parts`` is their priority.
Part = Literal["strong", "search", "swing", "cosine", "weak"]


class StrongSettings(Settings):
    """Transitions that are strong evidence; each is counted once per user, pair and day.

    ``page_click``       a click on B among the recommendations on A's page: weight 1
    ``cart_after_page``  B into the cart soon after A's page, no query in between: weight 2
    ``next_page``        A's page, then B's from an unknown source, no query in between: weight 1;
                         replaces the first rule in logs without sources of clicks
    ``same_order``       A and B bought in one order, whose C products share the weight of a search
                         episode, 1 / (|C| - 1) a pair; the only rule of logs of baskets
    """

    rules: Distinct[StrongRule] = ("page_click", "cart_after_page", "next_page")
    cart_minutes: Positive = 30  # longest time from A's page to the cart
    cart_steps: Annotated[Count, Field(le=10)] = 3  # events from A's page to the cart
    page_minutes: Positive = 5  # next_page: longest time from A's page to B's
    order_items: Annotated[Count, Field(ge=2)] = 20  # larger orders are left out


class SearchSettings(Settings):
    """Items opened from the results of one query."""

    most_items: Annotated[Count, Field(ge=2)] = 20  # episodes with more items are ignored


class SwingSettings(Settings):
    """Swing, sum over pairs of users u < v of w_u w_v / (alpha + |I_u ∩ I_v|)."""

    # Who is a user of the formula. In a year a household buys hundreds of products, and a basket
    # tells which of them belong together.
    over: Literal["user", "session"] = "user"
    alpha: Positive = 1
    user_offset: NonNegative = 5  # a of w_u = 1 / (a + |I_u|)^b
    user_power: Power = 0.35  # b; 0.5 with offset 0 is the original paper's weight
    least_user_items: Count = 2
    most_user_items: Annotated[Count, Field(ge=2)] = 200  # other users are left out
    # Users of an item that enter pairs, the first by a hash of user and item. |I_u ∩ I_v| is not
    # capped: that would change the formula without reducing the work.
    most_item_users: Annotated[Count, Field(ge=2)] = 200
    least_pairs: Count = 3  # pairs of users behind an edge
    least_score: NonNegative = 0.05
    most_neighbors: Count = 20
    # Sources of page views that count; cart and purchase events always count.
    sources: AtLeastOne[Source] = ("pdp_rec", "search", "other")

    _users = rule(
        lambda swing: swing.least_user_items <= swing.most_user_items,
        "no user has at least {least_user_items} and at most {most_user_items} items",
    )

    def unbounded(self) -> SwingSettings:
        """Return the settings of the plain formula, without filters and caps."""
        most = 2**31 - 1
        return self.model_copy(
            update={
                "least_user_items": 1,
                "most_user_items": most,
                "most_item_users": most,
                "least_pairs": 1,
                "least_score": 0.0,
                "most_neighbors": most,
            }
        )


class MergeSettings(Settings):
    """The merge of kinds of edges into one graph."""

    parts: AtLeastOne[Part] = ("strong", "search", "swing")  # highest priority first
    how: Literal["fill_up", "union"] = "fill_up"
    most_neighbors: Count = 15  # K
    coefficients: dict[Part, Positive] = Field(
        default={"strong": 1.0, "search": 0.7, "swing": 0.4, "cosine": 0.4, "weak": 0.4}
    )

    _all = rule(
        lambda merge: merge.coefficients.keys() == set(get_args(Part)),
        f"coefficients need a number for each of {', '.join(get_args(Part))}",
    )


class GraphSettings(Settings):
    """All settings of a graph."""

    strong: StrongSettings = StrongSettings()
    search: SearchSettings = SearchSettings()
    swing: SwingSettings = SwingSettings()
    merge: MergeSettings = MergeSettings()
