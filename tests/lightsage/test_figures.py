"""What the figures of the graph say, against rows that are counted by hand."""

from types import SimpleNamespace

import polars as pl
import pytest
from matplotlib import pyplot as plt

from okml.ledger import Estimate, Measurements
from okml.lightsage import figures
from okml.lightsage.figures import edge_gains, long_tail, picture, statistics
from okml.plotting import PALETTE


@pytest.fixture(autouse=True)
def _figures_stay_open(monkeypatch):
    """A picture closes its figure as soon as it is rendered; here its parts are looked at."""
    monkeypatch.setattr(figures, "Picture", lambda figure, alt: SimpleNamespace(**locals()))
    yield
    plt.close("all")


def edges(name, *rows):
    columns = ("item", "neighbor", "weight", "part", "item_category", "neighbor_category")
    return pl.DataFrame([{"graph": name, **dict(zip(columns, row, strict=True))} for row in rows])


def test_the_picture_tells_the_share_of_weight_within_a_category_of_each_graph():
    weak = edges("weak", (0, 1, 3.0, "weak", 0, 0), (1, 2, 1.0, "weak", 0, 1))
    full = edges("full", (0, 1, 1.0, "swing", 0, 0), (1, 2, 9.0, "strong", 0, 1))
    drawn = picture(pl.concat([weak, full]))
    left, right = drawn.figure.axes
    assert left.get_title() == "all consecutive clicks: 75% within a category"
    assert right.get_title() == "strong, search and Swing: 10% within a category"
    assert "all consecutive clicks: 75% of the weight" in drawn.alt
    assert "strong, search and Swing: 10% of the weight" in drawn.alt
    (legend,) = drawn.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["strong", "swing", "weak"]


def test_an_edge_runs_between_its_items_in_the_color_of_its_kind():
    rows = [(0, 1, 1.0, "swing", 0, 0), (1, 2, 1.0, "strong", 0, 1)]
    (axes,) = picture(edges("full", *rows)).figure.axes
    strong, swing, first, second = axes.lines
    assert (strong.get_color(), swing.get_color()) == (PALETTE[0], PALETTE[2])
    assert first.get_marker() != second.get_marker()
    ends = {line: {tuple(point) for point in line.get_xydata()} for line in axes.lines}
    assert len(ends[first]) == 2  # items 0 and 1 are of one category
    assert ends[swing] == ends[first]
    assert ends[second] < ends[strong] < ends[first] | ends[second]


def test_the_bars_are_what_the_report_says():
    report = pl.DataFrame(
        {
            "part": ["strong", "merged"],
            "edges": [1200, 0],
            "coverage": [0.25, 1.0],
            "same_category": [0.5, None],
        }
    )
    drawn = statistics(report)
    coverage, same = ([bar.get_width() for bar in axes.patches] for axes in drawn.figure.axes)
    assert coverage == [1.0, 0.25]  # from below, as bars are drawn
    assert same == [0.0, 0.5]
    labels = [label.get_text() for label in drawn.figure.axes[0].get_yticklabels()]
    assert labels == ["merged (0 edges)", "strong (1,200 edges)"]
    assert "strong 1,200 edges, coverage 0.25, 0.50 within a category, merged" in drawn.alt


def test_the_tail_begins_with_the_first_item_of_too_few_clicks():
    popularity = pl.DataFrame({"rank": [1, 2, 3, 4], "clicks": [9, 8, 7, 0]})
    degrees = pl.DataFrame({"degree": [0, 1, 2], "items": [1, 2, 1]})
    drawn = long_tail(popularity, degrees, tail_clicks=8)
    left, right = drawn.figure.axes
    assert left.lines[0].get_ydata().tolist() == [9, 8, 7, 1]  # no click has no logarithm
    (tail,) = left.patches
    assert (tail.get_x(), tail.get_width()) == (3, 1)
    assert [(round(bar.get_center()[0]), bar.get_height()) for bar in right.patches] == [
        (0, 1), (1, 2), (2, 1),
    ]  # fmt: skip
    assert "50% of the items have fewer than 8 clicks; 1 of 4 are isolated" in drawn.alt
    whole = long_tail(popularity, degrees, tail_clicks=0)
    assert "0% of the items" in whole.alt
    assert len(whole.figure.axes[0].patches) == 0


def test_the_gains_of_edges_show_the_claims_bar_and_control():
    def measured(mean):
        return Estimate(values={"0": mean}, low=mean - 0.1, high=mean + 0.1, estimator="drawn")

    metric, control = (f"{of}_hr10_gain_over_weak_graph" for of in ("strong", "fewer_edges"))
    graphs = Measurements(
        metrics={metric: measured(0.2), control: measured(0.0)},
        differences={metric: {control: measured(0.2)}},
    )
    told = edge_gains("cpu", graphs).alt
    assert "strong edges in place of weak ones 0.200 [0.100, 0.300], bar 0.25;" in told
    assert "strong edges in place of as many frequent clicks 0.200 [0.100, 0.300]." in told
