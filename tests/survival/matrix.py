"""Kill okml two hundred times: ``python -m tests.survival.matrix --out FILE`` (``make kills``)."""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from okml.benchmark import Kills, Survival
from okml.runtime import allotted_cores
from tests.survival.scenarios import (
    Ahead,
    Fetch,
    FirstSite,
    Gpu,
    Launch,
    Papermill,
    Recording,
    Scenario,
    Site,
    Steps,
    Training,
    server,
)
from tests.survival.strike import Reference, Strike, reference, strike

KILLS, SEED = 200, 0
# How many of a hundred kills each kind of work takes.
SHARES = {
    "fetch": 12, "training": 16, "steps": 10, "recording": 8, "side by side": 14, "papermill": 16,
    "two processes": 6, "gpu": 10, "site": 8,
}  # fmt: skip


@contextmanager
def all_scenarios(folder: Path) -> Iterator[dict[str, Scenario]]:
    """Yield the kinds of work by name; ``folder`` gets what some of them start from."""
    reference(Steps(), folder / "finished")
    reference(FirstSite(), folder / "published")
    with server() as address:
        known = [
            Fetch(address), Training(), Steps(), Recording(folder / "finished"), Ahead(),
            Papermill(), Launch(), Site(folder / "published"), *([Gpu()] if Gpu.there() else []),
        ]  # fmt: skip
        yield {scenario.name: scenario for scenario in known}


def all_strikes(kills: int, seed: int, only: Sequence[str] = ()) -> list[Strike]:
    """Kill each kind of work its share of times, as many at a time as there are cores."""
    with tempfile.TemporaryDirectory() as name, all_scenarios(Path(name)) as known:
        chosen = [scenario for scenario in known.values() if not only or scenario.name in only]
        of_all = sum(SHARES[scenario.name] for scenario in known.values())
        strikes = []
        with ThreadPoolExecutor(allotted_cores()) as threads:
            jobs = []
            for scenario in chosen:
                folder = Path(name) / scenario.name
                folder.mkdir()
                undisturbed = reference(scenario, folder / "undisturbed")
                wanted = round(kills * SHARES[scenario.name] / of_all)
                rng = random.Random(f"{seed} {scenario.name}")
                one = partial(_one, scenario, folder, undisturbed)
                jobs += [threads.submit(one, rng.random()) for _ in range(wanted)]
            for job in jobs:
                strikes.append(job.result())
                print(strikes[-1], flush=True)
    return strikes


def _one(scenario: Scenario, folder: Path, undisturbed: Reference, seed: float) -> Strike:
    """Kill a program once, at the first moment that chance names before its end."""
    rng = random.Random(seed)
    while True:
        place = folder / f"{rng.getrandbits(64):x}"
        done = strike(scenario, place, undisturbed, rng)
        shutil.rmtree(place)
        if done is not None:
            return done


def counted(strikes: Sequence[Strike]) -> list[Kills]:
    """Count what kills did, by kind of work and signal."""
    groups: dict[tuple[str, str], list[Strike]] = {}
    for each in strikes:
        groups.setdefault((each.scenario, each.how), []).append(each)
    return [
        Kills(
            work=work,
            signal=how,
            kills=len(found),
            processes=dict(sorted(Counter(each.role for each in found).items())),
            gone=sum(each.seconds is not None for each in found),
            whole=sum(not each.lost for each in found),
            equal=sum(each.equal for each in found),
            slowest_s=round(max((s.seconds for s in found if s.seconds is not None), default=0), 1),
        )
        for (work, how), found in groups.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--only", choices=SHARES, action="append", default=[])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    strikes = all_strikes(options.kills, options.seed, options.only)
    if options.out:
        Survival.write(options.out, seed=options.seed, kills=counted(strikes))
    if bad := [each for each in strikes if not each.survived]:
        raise SystemExit("\n".join(["These did not survive:", *map(str, bad)]))


if __name__ == "__main__":
    main()
