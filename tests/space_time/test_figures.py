from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
import pytest

from okml.data import entry
from okml.errors import ParameterError
from okml.plotting import PALETTE, Picture
from okml.space_time.figures import comparisons, depth, maps, mechanism
from okml.space_time.figures.common import HOVERED, titled

OUTLINE = (np.array([[0.0, 0.0], [10.0, 10.0]]), np.array([[-50.0, 0.0], [-60.0, 5.0]]))


def places(count: int = 7) -> pl.DataFrame:
    """Places whose probed longitude is off by 1°, 2°, …; errors 100 km, 200 km, …"""
    index = np.arange(count)
    return pl.DataFrame(
        {
            "entity": [f"Town {i}" for i in index],
            "region": [f"Land_{i % 2}" for i in index],
            "longitude": index * 20.0 - 60,
            "latitude": index * 5.0,
            "longitude_probed": index * 20.0 - 60 + index + 1,
            "latitude_probed": index * 5.0,
            "error_km": 100.0 * (index + 1),
        }
    )


def layers() -> pl.DataFrame:
    """Two seeds, three depths; the untrained model reaches 0.2."""
    rows = [
        ("cities", model, seed, depth, top * depth + seed / 50)
        for model, top in (("trained", 0.8), ("untrained", 0.2))
        for seed in (0, 1)
        for depth in (0.0, 0.5, 1.0)
    ]
    return pl.DataFrame(rows, schema=["set", "model", "seed", "depth", "r2"], orient="row")


def years(count: int = 5) -> pl.DataFrame:
    index = np.arange(count)
    return pl.DataFrame(
        {
            "entity": [f"Song {i}" for i in index],
            "year": 1950.0 + index,
            "year_probed": 1950.0 + index + 2 * index,
        }
    )


def controls() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "set": ["cities"] * 4,
            "features": ["probe", "probe", "n-grams", "words"],
            "seed": [0, 1, 0, 0],
            "r2": [0.6, 0.8, 0.25, -3.0],
        }
    )


def prompts() -> pl.DataFrame:
    """The best means over seeds are 0.55 and 0.35."""
    return pl.DataFrame(
        {
            "set": ["cities"] * 6,
            "prompt": ["empty"] * 3 + ["random"] * 3,
            "seed": [0, 0, 1] * 2,
            "depth": [0.0, 1.0, 1.0] * 2,
            "r2": [0.1, 0.5, 0.6, 0.1, 0.3, 0.4],
        }
    )


def components() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "set": ["cities"] * 4,
            "seed": [0, 0, 1, 1],
            "components": [2, 576, 2, 576],
            "r2": [0.1, 0.5, 0.1, 0.5],
            "rho": [0.4, 0.9, 0.2, 0.7],
        }
    )


def blocks() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "block": ["Some_Land", "Other"],
            "true_x": [10.0, 20.0], "true_y": [0.0, 1.0],
            "predicted_x": [8.0, 15.0], "predicted_y": [0.0, 2.0],
            "mean_x": [0.0, 1.0], "mean_y": [0.0, 0.0],
            "cosine": [0.9, 0.7],
        }
    )  # fmt: skip


def neurons() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "target": ["longitude", "longitude", "latitude"],
            "layer": [3, 4, 5],
            "neuron": [70, 80, 90],
            "rho": [0.5, -0.65, 0.4],
        }
    )


def directions() -> pl.DataFrame:
    """The best of two draws reach 0.41 and 0.45."""
    return pl.DataFrame({"draw": [0, 0, 1, 1], "rho": [0.2, -0.41, 0.45, 0.3]})


def margins() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "set": ["cities", "cities", "people"],
            "question": ["R²", "ρ inside regions", "R²"],
            "cheap": ["letters", "words", "words"],
            "difference": [-0.05, 0.5, 0.2],
            "low": [-0.12, 0.4, 0.11],
            "high": [0.02, 0.6, 0.29],
        }
    )


def pushes() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "direction": ["probe"] * 2 + ["covariance"] * 2 + ["random"] * 4,
            "index": [0, 0, 0, 0, 0, 0, 1, 1],
            "strength": [-0.25, 0.25] * 4,
            "shift": [-1.5, 1.25, -0.75, 0.62, -0.11, 0.22, 0.33, -0.44],
        }
    )


def sizes() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "source": ["measured"] * 6 + ["paper"],
            "model": ["p1", "p1", "p2", "l1", "l2", "l2", "Llama-2-7B"],
            "family": ["Pythia"] * 3 + ["Llama-2"] * 4,
            "parameters": [1e8, 1e8, 1e9, 5e8, 5e9, 5e9, 7e9],
            "set": ["world_place"] * 7,
            "r2": [0.1, 0.3, 0.5, 0.4, 0.6, 0.8, 0.88],
        }
    )


def sweep() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "prompt": ["A by B was written in 19"] * 9,
            "neuron": ["L3.70"] * 6 + ["L4.80"] * 3,
            "value": [None, -2.0, 2.0] * 2 + [None, -7.0, 7.0],
            "token": ["5", "5", "5", "6", "6", "6", "5", "5", "5"],
            "probability": [0.5, 0.8, 0.2, 0.4, 0.1, 0.7, 0.5, 0.5, 0.6],
        }
    )


Case = tuple[Callable[..., Picture], pl.DataFrame, tuple[Any, ...], list[str]]
CASES: dict[str, Case] = {
    "map": (maps.true_and_probed_map, places(), (OUTLINE, "towns"),
            ["7 towns", "within 400 km"]),
    "layers": (depth.accuracy_by_layer, layers(), (), ["test R²", "Cities 0.82"]),
    "timeline": (comparisons.timeline, years(), ("songs",), ["5 songs", "within 4.0 years"]),
    "controls": (comparisons.controls, controls(), (),
                 ["probe: 0.70", "n-grams: 0.25", "words: -3.00"]),
    "prompts": (depth.prompts, prompts(), (), ["Cities empty 0.55", "Cities random 0.35"]),
    "components": (comparisons.principal_components, components(), (),
                   ["Cities 0.30 with 2 and 0.80 with all 576"]),
    "blocks": (maps.held_out_blocks, blocks(), (OUTLINE,),
               ["2 held-out regions", "displacements is 0.80"]),
    "neurons": (mechanism.neurons, neurons(), (directions(),),
                ["L4.80", "ρ 0.65 for longitude", "reach 0.43"]),
    "margins": (comparisons.gain_over_cheap, margins(), (),
                ["Cities -0.05 [-0.12, 0.02] beside letters", "People 0.20 [0.11, 0.29]"]),
    "steering": (mechanism.steering, pushes(), (),
                 ["from -1.50 to 1.25 nats", "longitude, from -0.75 to 0.62", "2 random directions",
                  "between -0.44 and 0.33"]),
    "sizes": (comparisons.model_sizes, sizes(), (),
              ["World 0.20 (p1)", "World 0.50 (p2)", "World 0.70 (l2)"]),
    "sweep": (mechanism.neuron_sweep, sweep(), (),
              ["L3.70 from -2.0 to 2.0", "L4.80 from -7.0 to 7.0", "1 prompts"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_text_alternative_says_the_numbers(name: str) -> None:
    draw, rows, more, facts = CASES[name]
    opened = plt.get_fignums()
    picture = draw(rows, *more)
    for fact in facts:
        assert fact in picture.alt
    assert ElementTree.fromstring(picture.svg).get("aria-label") == picture.alt
    assert plt.get_fignums() == opened  # the new one is closed


@pytest.mark.parametrize("name", CASES)
def test_no_rows_are_an_error(name: str) -> None:
    draw, rows, more, _ = CASES[name]
    with pytest.raises(ParameterError, match=r"There are no .* to draw"):
        draw(rows.clear(), *more)


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("steering", "sweep")])
def test_one_row_is_drawn(name: str) -> None:
    draw, rows, more, _ = CASES[name]
    assert "nan" not in draw(rows.head(1), *more).alt


def titles(picture: Picture) -> list[str]:
    svg = ElementTree.fromstring(picture.svg)
    return [element.text or "" for element in svg.iter("{http://www.w3.org/2000/svg}title")]


def test_every_place_has_a_tooltip_in_both_maps() -> None:
    found = titles(maps.true_and_probed_map(places(), OUTLINE, "towns"))
    assert len(found) == 14
    assert found[:7] == found[7:]
    assert found[0] == "Town 0 (Land_0): off by 100 km"


@pytest.mark.parametrize("count", [HOVERED, HOVERED + 1, 2 * HOVERED - 1])
def test_a_page_stays_light(count: int) -> None:
    found = titles(comparisons.timeline(years(count), "songs"))
    assert count / 2 <= len(found) <= HOVERED


def test_every_date_has_a_tooltip() -> None:
    found = titles(comparisons.timeline(years(), "songs"))
    assert found[3] == "Song 3: 1953, read as 1959"
    assert len(found) == 5


def test_errors_are_shown_from_the_best_region_to_the_worst() -> None:
    rows = pl.DataFrame(
        {
            "region": ["A_Land"] * 5 + ["B"] * 6 + ["C"] * 4,  # C is too small
            "error_km": [*range(100, 600, 100), *[50.0] * 6, *[9.0] * 4],
        },
        strict=False,
    )
    alt = maps.errors_by_region(rows).alt
    assert "from 50 km in B to 300 km in A Land" in alt
    with pytest.raises(ParameterError, match="no regions with 5 test places"):
        maps.errors_by_region(rows.filter(region="C"))


def test_a_block_without_a_direction_does_not_spoil_the_mean() -> None:
    rows = blocks().with_columns(cosine=pl.Series([0.9, np.nan]))
    assert "displacements is 0.90" in maps.held_out_blocks(rows, OUTLINE).alt


def test_every_block_has_a_tooltip_and_the_first_ones_have_their_names() -> None:
    crowd = pl.concat([blocks().head(1).with_columns(block=pl.lit(f"Land_{i}")) for i in range(40)])
    picture = maps.held_out_blocks(crowd, OUTLINE)
    assert titles(picture) == [f"Land {i}: cosine 0.90" for i in range(40)]
    assert ">Land 0</text>" in picture.svg
    assert ">Land 39</text>" not in picture.svg


def test_of_many_regions_those_with_the_most_places_are_drawn() -> None:
    rows = pl.DataFrame(
        {"region": ["Small"] * 5 + [f"L{i}" for i in range(24) for _ in range(6)]}
    ).with_columns(error_km=pl.int_range(pl.len()).cast(pl.Float64))
    picture = maps.errors_by_region(rows)
    assert "24 regions, from 8 km in L0" in picture.alt
    assert "Small" not in picture.svg


def test_prompts_of_many_sets_have_rows_of_panels() -> None:
    rows = pl.concat([prompts().with_columns(set=pl.lit(name)) for name in ("a", "b", "c")])
    svg = ElementTree.fromstring(depth.prompts(rows).svg)
    width, height = (float(svg.get(side, "").removesuffix("pt")) for side in ("width", "height"))
    assert width < 1.5 * height


def test_a_long_prompt_is_cut_where_it_begins() -> None:
    rows = sweep().with_columns(prompt=pl.lit(f"{'long ' * 9}song by B was written in 19"))
    svg = mechanism.neuron_sweep(rows).svg
    assert ">… " in svg
    assert svg.count("song by B was written in 19 …") == 2
    assert "long " * 9 not in svg


def test_a_neuron_is_drawn_once_however_many_weights_it_has() -> None:
    twice = pl.concat([neurons(), neurons().with_columns(rho=pl.col("rho") / 2)])
    assert mechanism.neurons(twice, directions()).svg.count(">L4.80</text>") == 1


def test_families_are_lines_of_their_own() -> None:
    svg = comparisons.model_sizes(sizes()).svg
    for label in ("World, Pythia, measured", "World, Llama-2, measured", "World, Llama-2, paper"):
        assert svg.count(label) == 1


def test_more_sets_than_colors_are_all_drawn() -> None:
    names = [f"set {index}" for index in range(len(PALETTE) + 2)]
    rows = pl.concat([controls().with_columns(set=pl.lit(name)) for name in names])
    svg = comparisons.controls(rows).svg
    assert all(f">{name}<" in svg for name in names)


def test_a_pinned_neuron_has_panels_of_its_own() -> None:
    svg = mechanism.neuron_sweep(sweep()).svg
    assert svg.count("A by B was written in 19 …") == 2
    for neuron in ("L3.70", "L4.80"):
        assert svg.count(f"pinned activation, {neuron}<") == 1


def test_tables_show_sets_as_figures_do() -> None:
    rows = pl.DataFrame({"set": ["world_place", "made_by_hand"], "r2": [0.5, 0.4]})
    assert titled(rows).to_dict(as_series=False) == {
        "set": ["World", "made_by_hand"], "r2": [0.5, 0.4],
    }  # fmt: skip


def test_tables_and_alternatives_say_which_model_is_read() -> None:
    rows = sizes().with_columns(pl.col("model").replace("p1", "smollm2_135m"))
    released = entry("smollm2_135m").title
    shown = titled(rows)["model"].to_list()
    assert shown[2:] == rows["model"].to_list()[2:]  # a folder keeps its name
    assert released.startswith(shown[0].removesuffix(" bits") + "-bit weights")
    assert f"World 0.20 ({shown[0]})" in comparisons.model_sizes(rows).alt


def test_the_score_by_spelling_names_the_best_of_each_group() -> None:
    rows = pl.DataFrame(
        {
            "features": ["prompt: coords"] * 4 + ["character n-grams"] * 2,
            "depth": [0.0, 1.0, 0.0, 1.0, None, None],
            "names": ["region in the name"] * 2
            + ["bare name"] * 2
            + ["region in the name", "bare name"],
            "r2": [0.1, 0.62, 0.2, 0.15, 0.7, 0.3],
        }
    )
    alt = depth.accuracy_by_spelling(rows).alt
    assert "region in the name 0.62, n-grams 0.70; bare name 0.20, n-grams 0.30" in alt
