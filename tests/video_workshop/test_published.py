import pytest
from pydantic import ValidationError

from okml.errors import ParameterError
from okml.ledger import load_claims
from okml.video_workshop.config import PROFILES
from okml.video_workshop.published import Published, all_published, published


def test_every_table_names_its_source_and_what_may_be_compared():
    tables = all_published()
    assert {table.theme for table in tables.values()} == {"items", "users", "goals", "stream"}
    for table in tables.values():
        assert table.frame().height == len(table.rows)
        assert table.source
        assert f"{table.source}; {table.comparability}." in table.caption(table.log)


def test_only_the_public_benchmark_may_be_compared_number_by_number():
    same = [t.id for t in all_published().values() if t.comparability == "same data and protocol"]
    assert same == ["microlens"]


@pytest.mark.parametrize("name", ["smoke", "cpu", "night", "gpu"])
def test_the_benchmark_is_the_same_only_beside_a_run_on_its_data(name):
    profile = PROFILES[name]
    log = (profile.cold_data or profile.data).log
    caption = published("microlens", log=log).caption
    assert caption.endswith(
        "repository; same data and protocol."
        if name == "gpu"
        else "repository; other data: direction only."
    )
    assert published("microlens").caption.endswith("; other data: direction only.")


def test_a_table_of_the_same_data_says_of_which():
    table = all_published()["microlens"].model_dump()
    with pytest.raises(ValidationError, match="microlens names a log"):
        Published.model_validate(table | {"log": None})


def test_a_claims_paper_value_is_the_tables():
    claims = {claim.id: claim for claim in load_claims("video_workshop")}
    intents = claims["video_workshop.intents"].paper
    ablation = all_published()["intent_ablation"].frame()
    assert intents is not None
    assert (
        ablation.filter(variant="predicted intents fed forward")["change %"].item() == intents.value
    )
    frame = all_published()["constrained"].frame()
    for name in ("constrained", "random_constrained"):
        paper = claims[f"video_workshop.{name}"].paper
        assert paper is not None
        assert frame.filter(method="TSCAC")["time watched"].item() == paper.value
    frozen = claims["video_workshop.frozen_content"].paper
    assert frozen is not None
    sasrec = all_published()["microlens"].frame().filter(model="SASRec")
    of_class = dict(sasrec.select("class", "HR@10").iter_rows())
    both, ids = of_class["ids and frozen video"], of_class["ids, sequential"]
    assert frozen.value == pytest.approx(both - ids)
    assert f"{both} against {ids}" in frozen.note.en


def test_collision_rates_follow_from_the_counts_beside_them():
    for row in all_published()["collisions"].frame().iter_rows(named=True):
        assert 100 * (1 - row["after"] / row["before"]) == pytest.approx(
            row["collisions %"], abs=0.006
        )


def test_relative_changes_follow_from_the_entropies_beside_them():
    for row in all_published()["slices"].frame().iter_rows(named=True):
        change = 100 * (row["Semantic ID"] / row["random hash"] - 1)
        assert change == pytest.approx(row["Semantic ID against hash %"], abs=0.006)


def test_an_unknown_table_lists_the_known_ones():
    with pytest.raises(ParameterError, match="no published table 'nothing'") as caught:
        published("nothing")
    assert "microlens" in caught.value.hint
    assert "<caption>Published: MicroLens-100K" in published("microlens")._repr_html_()
