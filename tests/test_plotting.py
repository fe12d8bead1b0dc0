import itertools
import re
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import polars as pl
import pytest
from matplotlib.collections import LineCollection
from matplotlib.transforms import Bbox

from okml.errors import ParameterError
from okml.ledger import Estimate, Measurements
from okml.plotting import (
    EMPTY,
    INK,
    PALETTE,
    UNMEASURED,
    Picture,
    by_color,
    claim_bars,
    dots,
    estimates,
    label_points,
    style,
)

NS = "{http://www.w3.org/2000/svg}"


def scatter(alt="Three points on a rising line.", tooltips=None):
    with style():
        figure, axes = plt.subplots()
        points = axes.scatter([1, 2, 3], [1, 2, 3])
        axes.set_xlabel("x")
    return Picture(figure, alt, tooltips and {points: tooltips})


def test_the_svg_is_well_formed_and_described():
    root = ElementTree.fromstring(scatter().svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == "Three points on a rising line."


def test_ink_follows_the_page():
    svg = scatter().svg
    assert INK not in svg
    assert "currentColor" in svg


def test_every_point_has_its_own_tooltip():
    svg = scatter(tooltips=["Oslo", "Lima", "Quito"]).svg
    titles = [element.text for element in ElementTree.fromstring(svg).iter(f"{NS}title")]
    assert titles == ["Oslo", "Lima", "Quito"]


@pytest.mark.parametrize("tooltips", [["Oslo"], ["Oslo", "Lima", "Quito", "Rome"]])
def test_labels_that_do_not_match_the_points_are_an_error(tooltips):
    with pytest.raises(ParameterError, match="labels"):
        scatter(tooltips=tooltips)


def test_a_figure_without_a_text_alternative_is_an_error():
    with pytest.raises(ParameterError, match="text alternative"):
        scatter(alt="plot")


def test_equal_figures_are_equal_bytes_and_ids_do_not_clash():
    first, again, other = scatter(), scatter(), scatter(alt="Another picture of three points.")
    assert first.svg == again.svg
    ids = [
        {
            element.get("id")
            for element in ElementTree.fromstring(picture.svg).iter()
            if element.get("id")
        }
        for picture in (first, other)
    ]
    assert not ids[0] & ids[1]


def test_the_bundle_carries_html_and_a_png():
    data, metadata = scatter()._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert data["text/html"].startswith('<figure class="okml-figure"><svg')
    assert metadata["image/png"]["alt"] == "Three points on a rising line."


def test_dots_lie_on_their_intervals_in_named_rows_from_the_top():
    rows = pl.DataFrame(
        {"arm": ["a", "b", "c"], "gain": [1, None, 3], "low": [0, None, 2], "high": [2, None, 5]}
    )
    with style():
        figure, (axes, _) = plt.subplots(1, 2, sharey=True)
        dots(axes, rows, "gain", "arm")
    lines, points = axes.collections
    assert [lines.get_segments()[row].tolist() for row in (0, -1)] == [
        [[0, 0], [2, 0]],
        [[2, 2], [5, 2]],
    ]
    assert points.get_offsets()[[0, 2]].tolist() == [[1, 0], [3, 2]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    bottom, top = axes.get_ylim()
    assert bottom > 2 > 0 > top
    plt.close(figure)


def test_one_picture_twice_keeps_ids_unique():
    with style():
        figure, axes = plt.subplots(1, 2)
        for panel in axes:
            panel.imshow([[0.0, 1.0], [1.0, 0.0]])
    ids = re.findall(r'\bid="([^"]+)"', Picture(figure, "The same picture twice.").svg)
    assert len(ids) == len(set(ids))


def test_rows_come_by_color_in_the_order_of_appearance_and_colors_come_again():
    names = [*"hgfedcba"]
    frame = pl.DataFrame({"name": [*names, "h"], "value": range(9)})
    found = list(by_color(frame, "name"))
    assert [name for _, name, _ in found] == names
    assert [color for color, _, _ in found] == [*PALETTE, PALETTE[0]]
    assert [rows["value"].to_list() for _, _, rows in found] == [
        [0, 8],
        *([n] for n in range(1, 8)),
    ]


def test_labels_of_neighboring_points_cover_neither_each_other_nor_a_point():
    x, y = [0.0, 1.0, 1.001, 1.002, 5.0], [0.0, 1.0, 1.01, 1.005, 5.0]
    with style():
        figure, axes = plt.subplots()
        axes.scatter(x, y)
        label_points(axes, x, y, ["origin", "one policy", "another policy", "a third", "far"])
        figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts][1] == "one policy"
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    spots = axes.transData.transform(list(zip(x, y, strict=True)))
    assert not any(box.contains(*spot) for box in boxes for spot in spots)
    plt.close(figure)


def test_in_a_crowd_only_the_first_labels_are_written():
    x = [1 + 0.001 * place for place in range(30)]
    with style():
        figure, axes = plt.subplots()
        axes.scatter(x, x)
        axes.scatter([5], [5])
        label_points(axes, [*x, 5], [*x, 5], [*map("number {}".format, range(30)), "far"],
                     crowded=True)  # fmt: skip
    written = [text.get_text() for text in axes.texts]
    assert written[0] == "number 0"
    assert written[-1] == "far"
    assert len(written) < 31
    plt.close(figure)


def test_the_line_at_zero_stands_beside_every_row_and_runs_through_no_name():
    def measured(mean):
        return Estimate(values={"all": mean}, low=mean - 0.1, high=mean + 0.1, estimator="drawn")

    step = Measurements(metrics={"worse": measured(-0.2), "better": measured(0.3)}, differences={})
    panels = {
        "gain": {
            "worse": "a name that reaches over zero",
            "better": "another name that reaches over it",
        },
        "of one row": {"better": "the name of its row"},
    }
    figure = estimates(panels, step)._figure
    figure.draw_without_rendering()
    for axes, rows in zip(figure.axes, (2, 1), strict=True):
        names = [text.get_window_extent() for text in axes.texts]
        lines = [line.get_transform().transform(line.get_xydata()) for line in axes.lines]
        for drawn in axes.collections:
            if isinstance(drawn, LineCollection):
                lines += [axes.transData.transform(ends) for ends in drawn.get_segments()]
        upright = [Bbox(ends) for ends in lines if ends[0, 0] == pytest.approx(ends[1, 0])]
        zero = axes.transData.transform((0, 0))[0]
        assert [line.x0 for line in upright] == pytest.approx([zero] * rows)
        assert len(names) == rows
        assert all(name.x0 < zero < name.x1 for name in names)
        assert not any(line.overlaps(name) for line in upright for name in names)
        heights = [axes.transData.transform((0, place))[1] for place in range(rows)]
        assert all(
            line.ymin < height < line.ymax for line, height in zip(upright, heights, strict=True)
        )


def test_bars_of_claims_are_those_of_the_profile_and_none_is_zero():
    small, night = claim_bars("lightsage", "cpu"), claim_bars("lightsage", "night")
    assert small["strong_hr10_gain_over_weak_graph"] == 0.25
    assert claim_bars("lightsage", "smoke")["strong_hr10_gain_over_weak_graph"] == 0.12
    assert (small["head_hr10_loss"], night["head_hr10_loss"]) == (0.08, 0.01)  # from above
    assert "swing_hr10_gain_over_network" not in small  # its bar is 0


def test_a_bar_is_a_dotted_line_beside_its_row_alone():
    def measured(mean):
        return Estimate(values={"all": mean}, low=mean - 0.1, high=mean + 0.1, estimator="drawn")

    step = Measurements(metrics={"free": measured(0.3), "barred": measured(0.2)}, differences={})
    panels = {"gain": {"free": "no bar", "barred": "a bar"}}
    shown = estimates(panels, step, bars={"barred": 0.25, "error": 0.5})  # one not of this run
    (axes,) = shown._figure.axes
    dotted = [
        lines for lines in axes.collections
        if isinstance(lines, LineCollection) and lines.get_linestyles()[0][1]
    ]  # fmt: skip
    ((ends,),) = (lines.get_segments() for lines in dotted)
    assert ends[:, 0].tolist() == [0.25, 0.25]
    assert 0.5 < ends[0, 1] < 1 < ends[1, 1] < 1.5  # the second row is at 1
    assert shown.alt == "gain: no bar 0.300 [0.200, 0.400]; a bar 0.200 [0.100, 0.300], bar 0.25."


def test_estimates_are_drawn_with_their_controls_and_differences_and_others_left_out():
    def measured(mean, low, high):
        return Estimate(values={"all": mean}, low=low, high=high, estimator="drawn")

    step = Measurements(
        metrics={"r2": measured(0.5, 0.4, 0.6), "cheap_r2": measured(0.3, 0.2, 0.4)},
        differences={"r2": {"cheap_r2": measured(0.2, 0.1, 0.3)}},
    )
    panels = {
        "test R²": {"r2": "probe", "cheap_r2": "letters", "r2-cheap_r2": "difference"},
        "years": {"error": "probe"},  # not of this run
    }
    shown = estimates(panels, step)
    assert shown.alt == (
        "test R²: probe 0.500 [0.400, 0.600]; letters 0.300 [0.200, 0.400]; "
        "difference 0.200 [0.100, 0.300]."
    )
    root = ElementTree.fromstring(shown.svg)
    texts = [element.text for element in root.iter(f"{NS}text")]
    assert {"probe", "letters", "difference", "test R²"} <= set(texts)
    assert "years" not in texts
    assert EMPTY not in shown.svg
    assert ", bar" not in shown.alt
    nothing = estimates(panels, Measurements())
    assert nothing.alt == UNMEASURED
    assert EMPTY in nothing.svg
