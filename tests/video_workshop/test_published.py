import pytest

from okml.errors import ParameterError
from okml.ledger import load_claims
from okml.video_workshop.published import all_published, published


def test_every_table_names_its_source_and_what_may_be_compared():
    tables = all_published()
    assert {table.theme for table in tables.values()} == {"items", "users", "goals", "stream"}
    for table in tables.values():
        assert table.frame().height == len(table.rows)
        assert table.source
        assert f"{table.source}; {table.comparability}." in table.caption


def test_only_the_public_benchmark_may_be_compared_number_by_number():
    same = [t.id for t in all_published().values() if t.comparability == "same data and protocol"]
    assert same == ["microlens"]


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
