"""STRec's encoder beside its backbone at growing lengths, in one run on one machine.

Encoders have the paper's 8 layers and the released schedule for 50 items, in proportion at other
lengths; weights are random, since cost does not depend on them. A pass holds the same number of
tokens at every length. The backbone is measured twice: with every query in every layer, as the
authors measured it, and with one query in its last layer, which is exact and free. Contestants take
turns; medians count.

    python benchmarks/strec.py --out strec.json
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from okml.benchmark import (
    BenchmarkRecord,
    Check,
    PeerComparison,
    in_turns,
    parser_of,
    write_benchmark,
)
from okml.chapters import chapter
from okml.runtime import progress
from okml.strec.arms import BACKBONE, sampled
from okml.strec.data import SplitLog
from okml.strec.experiments.candidates import (
    FULL,
    LAST,
    Candidate,
    candidate,
    candidates,
    random_histories,
)
from okml.strec.schedule import RELEASED, full_schedule, scaled
from okml.strec.study import Study

STREC = "STRec"
LAYERS = len(RELEASED[50])
TOLERANCE = 1e-5  # float32 sums in another order


def contestants(study: Study, data: SplitLog, count: int, length: int) -> dict[str, Candidate]:
    schedule = scaled(RELEASED[50], 50, length)
    arm = replace(sampled("strec", data.settings, study.profile.recipe), schedule=schedule)
    histories = random_histories(study, data, count, length)
    return {found.name: found for found in candidates(study, data, [arm], histories)}


@torch.inference_mode()
def milliseconds(encoders: dict[str, Candidate], rounds: int) -> dict[str, float]:
    """Return the median time of a history for each encoder; they take turns."""
    figures, _ = in_turns(encoders, rounds, warm=1)
    count = len(encoders[STREC].items)
    return {name: 1000 * of["seconds"] / count for name, of in figures.items()}


@torch.inference_mode()
def check_nothing_dropped(study: Study, data: SplitLog) -> Check:
    """Compare a STRec that drops nothing with the backbone of the same weights."""
    length = data.settings.length
    arm = replace(
        sampled("strec", data.settings, study.profile.recipe),
        schedule=full_schedule(length, LAYERS),
    )
    histories = random_histories(study, data, 16, length)
    strec, backbone = (candidate(study, data, found, histories) for found in (arm, BACKBONE))
    strec.encoder.load_state_dict(backbone.encoder.state_dict(), strict=False)
    ours, theirs = strec(), backbone()
    return Check(
        what="last vectors of STRec that drops nothing, and of the backbone of the same weights",
        difference=float((ours - theirs).abs().max() / theirs.abs().max()),
        tolerance=TOLERANCE,
    )


def record(arguments: argparse.Namespace, folder: Path) -> BenchmarkRecord:
    torch.set_num_threads(arguments.threads)
    settings = chapter("strec").profile("cpu")
    network = settings.network.model_copy(update={"layers": LAYERS})
    main = settings.main.model_copy(update={"schedule": RELEASED[50]})
    settings = settings.model_copy(update={"network": network, "datasets": (main,)})
    study = Study(settings, folder)
    data = study.data(main)
    comparisons = []
    for length in progress(arguments.lengths, "lengths"):
        count = max(1, arguments.tokens // length)
        found = milliseconds(contestants(study, data, count, length), arguments.rounds)
        comparisons += [
            PeerComparison(
                what=f"encoder, {length} items", unit="ms/history", peer=peer,
                okml_value=found[STREC], peer_value=found[peer], repeats=arguments.rounds,
            )
            for peer in (LAST, FULL)
        ]  # fmt: skip
    shown = "-".join(map(str, RELEASED[50]))
    return write_benchmark(
        arguments.out,
        "STRec beside its backbone",
        f"Encoders of {LAYERS} layers and {network.width} dimensions in float32 on "
        f"{arguments.threads} threads, without scoring. STRec keeps {shown} of 50 items and the "
        "same shares of longer histories. Both are okml's; the last-query backbone computes one "
        "query in its last layer, which the published comparison leaves out.",
        comparisons,
        [check_nothing_dropped(study, data)],
    )


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=[50, 100, 200, 500, 1000, 2000, 4000]
    )
    parser.add_argument("--tokens", type=int, default=12_800, help="of a pass")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = record(arguments, Path(folder))
    print(result)


if __name__ == "__main__":
    main()
