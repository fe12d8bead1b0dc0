"""The parts of ``make gpu-check``: each measures something on the accelerator and writes rows.

``python -m benchmarks.gpu.parts NAME FILE`` runs one; ``--tiny`` takes the smallest sizes, which
any device computes in seconds. Weights are random, of the true shapes: times and memory do not
depend on them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from okml.accelerator import (
    has_flex_attention,
    peak_bytes,
    pick_device,
    release_memory,
    reset_peak,
    seconds_of,
)
from okml.benchmark import GpuNumber
from okml.chapters import CHAPTERS
from okml.ledger import RunRecord, read_record
from okml.paths import repository_root

if os.environ.get("OKML_TEST_DEVICE") == "second":
    import_module("tests.second_device.device")

DIGEST = "the digest"
CPU = "the CPU"
GIGABYTE = 1e9
DEVICE = pick_device("auto")


Numbers = Iterator[GpuNumber]


@dataclass(frozen=True)
class Part:
    """A part: its name, what it shows, its limit, and a function of tiny that yields numbers."""

    name: str
    what: str
    limit_s: int
    rows: Callable[[bool], Numbers]


# ---------------------------------------------------------------------- tests


def tests(tiny: bool) -> Numbers:
    """Run the tests marked gpu; a failure is an error with the names of what failed."""
    where, marks = [repository_root() / "tests"], "gpu"
    if tiny:  # without those of whole chapters and trainings
        where = [
            path
            for path in sorted(where[0].rglob("test_*.py"))
            if "mark.gpu" in path.read_text("utf-8") and path.parent.name != "second_device"
        ]
        marks = "gpu and not slow"
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-m", marks, "-p", "no:cacheprovider",
             f"--junitxml={report}", *map(str, where)],
            cwd=repository_root(), check=False,
        )  # fmt: skip
        cases = list(ET.parse(report).getroot().iter("testcase"))
    kinds = {"failure": "failed", "error": "failed", "skipped": "skipped"}
    states = [next((kinds[e.tag] for e in case if e.tag in kinds), "passed") for case in cases]
    named = zip((case.get("name") for case in cases), states, strict=True)
    for state in ("passed", "failed", "skipped"):
        yield GpuNumber(f"tests {state}", states.count(state), "tests")
    failed = [name for name, state in named if state == "failed"]
    if failed or not cases:
        raise RuntimeError(f"{len(failed)} tests failed: {', '.join(map(str, failed))}")


# ---------------------------------------------------------------------- chapters


def chapter(name: str, tiny: bool) -> Numbers:
    """Run the smoke profile on the accelerator and on the CPU at the same time."""
    few = import_module("tests.second_device.smallest").AT_SMOKE.get(name, ()) if tiny else ()
    with tempfile.TemporaryDirectory() as folder:
        programs = {"auto": ["benchmarks.gpu.chapter", name], "cpu": [f"okml.{name}"]}
        processes = {
            device: subprocess.Popen(
                [sys.executable, "-m", *program, "--profile", "smoke", "--device", device,
                 "--run-dir", f"{folder}/{device}", *few]
            )
            for device, program in programs.items()
        }  # fmt: skip
        ended = [process.wait() for process in processes.values()]
        if any(ended):
            raise RuntimeError(f"The smoke run of {name} failed.")
        there, here = (read_record(Path(folder, device, "record.json")) for device in processes)
    yield from compared(there, here)


def compared(there: RunRecord, here: RunRecord) -> Numbers:
    """Yield the seconds and the metrics of a record of the accelerator beside those of the CPU."""
    seconds = [record.provenance.seconds for record in (there, here)]
    yield GpuNumber("the whole run", seconds[0], "s", seconds[1], CPU)
    for name, found in there.metrics.items():
        own = here.metrics.get(name)  # a CPU has no memory of a card
        yield GpuNumber(name, found.mean, found.unit, None if own is None else own.mean, CPU)


# ---------------------------------------------------------------------- add


def sdxl(tiny: bool) -> Numbers:
    """Time one image in one to four steps as the digest does, compiled and not."""
    from okml.add.experiments.released import DIGEST_MS
    from okml.add.full_scale.assemble import encode_prompts
    from okml.add.latency import measure_latency
    from okml.add.sampling import student_sampler
    from okml.add.schedule import NoiseSchedule

    pipeline = _tiny_pipeline() if tiny else _sdxl()
    pipeline.to(DEVICE)
    schedule = NoiseSchedule.from_scheduler(pipeline.scheduler, "noise_only")
    shape = (1, 4, 8, 8) if tiny else (1, 4, 64, 64)
    for compiled in (False, True) if has_flex_attention(DEVICE) else (False,):
        denoiser = torch.compile(pipeline.denoiser) if compiled else pipeline.denoiser
        samplers = {steps: student_sampler(denoiser, schedule, steps) for steps in (1, 2, 3, 4)}
        table = measure_latency(
            samplers, pipeline.codec,
            lambda: encode_prompts(pipeline, ["a raccoon in a library"], DEVICE), shape, DEVICE,
            repeats=3 if tiny else 20,
        )  # fmt: skip
        how = ", compiled" if compiled else ""
        for row in table.rows:
            told = DIGEST_MS.get(row.steps)
            yield GpuNumber(f"an image in {row.steps} steps{how}", row.total, "ms", told, DIGEST)
        reserved = max(table.reserved_gib) * 2**30 / GIGABYTE
        yield GpuNumber(f"memory{how}", reserved, "GB", 9.0, DIGEST)


def _sdxl() -> Any:
    from benchmarks.gpu import backbones
    from okml.add.denoiser import Denoiser
    from okml.add.full_scale.architectures import TOKENS, TOWERS
    from okml.add.full_scale.codec import LatentCodec
    from okml.add.full_scale.models import Pipeline
    from okml.add.full_scale.prompts import SdxlPrompts

    where = str(DEVICE)

    def tokenize(captions: Any) -> torch.Tensor:
        return torch.full((len(captions), TOKENS), 49407)

    towers = [backbones.build_text_tower(name, where).half() for name in TOWERS["sdxl"]]
    return Pipeline(
        Denoiser(backbones.build_unet("sdxl", where).half()).eval(),
        LatentCodec(backbones.build_vae(where)).eval(),
        SdxlPrompts(*towers).eval(),
        (tokenize, tokenize),
        backbones.backbone_scheduler(),
    )


def _tiny_pipeline() -> Any:
    return import_module("tests.add.pipelines").pipeline(sdxl=True)


# ---------------------------------------------------------------------- space_time

LLAMAS = {"7B": (4096, 11008, 32), "13B": (5120, 13824, 40)}  # width, width of the MLP, blocks


def llama(size: str, tiny: bool) -> Numbers:
    """Extract the states of names with a Llama-2 in bfloat16."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    from okml.space_time.batches import plan_batches
    from okml.space_time.config import PROFILES
    from okml.space_time.extract import iter_states
    from okml.space_time.models import LanguageModel

    width, hidden, blocks = (32, 64, 2) if tiny else LLAMAS[size]
    heads = 4 if tiny else width // 128
    config = LlamaConfig(
        vocab_size=64 if tiny else 32_000, hidden_size=width, intermediate_size=hidden,
        num_hidden_layers=blocks, num_attention_heads=heads,
    )  # fmt: skip
    with torch.device(DEVICE):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    lm = LanguageModel(f"Llama-2-{size}", model.to(DEVICE).eval(), None, 1)
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 16, 64 if tiny else 40_000)  # tokens of a name with its first one
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = rng.integers(2, config.vocab_size, offsets[-1])
    batches = plan_batches(offsets, PROFILES["gpu"].batch_tokens)

    def extract() -> None:
        for _ in iter_states(lm, ids, offsets, batches):
            pass

    if not tiny:
        next(iter(iter_states(lm, ids, offsets, batches)))  # libraries load
    reset_peak(DEVICE)
    seconds = seconds_of(extract, DEVICE)
    yield GpuNumber(f"Llama-2-{size}, tokens in batches of {PROFILES['gpu'].batch_tokens:,}",
              offsets[-1] / seconds, "tokens/s")  # fmt: skip
    yield GpuNumber(f"Llama-2-{size}, names", len(lengths) / seconds, "names/s")
    yield GpuNumber(f"Llama-2-{size}, memory", (peak_bytes(DEVICE) or 0) / GIGABYTE, "GB")


def llamas(tiny: bool) -> Numbers:
    """Extract with both sizes, one after the other."""
    for size in LLAMAS:
        yield from llama(size, tiny)
        release_memory()


# ---------------------------------------------------------------------- strec


def strec(tiny: bool) -> Numbers:
    """Measure E1 to E4 of the chapter with the shapes of MovieLens-20M."""
    from okml.strec import data
    from okml.strec.config import PROFILES
    from okml.strec.experiments.efficiency import measure_efficiency
    from okml.strec.study import Study

    profile = import_module("tests.strec.tiny").tiny() if tiny else PROFILES["gpu"]
    profile = profile.override(
        {"device": "auto", "mixers": [], "efficiency.repeats": 3 if tiny else 20}
    )
    if not has_flex_attention(DEVICE):
        profile = profile.override({"compile": "false"})
    users, items, events = (20, 30, 120) if tiny else (2_000, 26_744, 500)
    log = partial(random_log, users=users, items=items, events=events)
    with mock.patch.object(data.logs, "load", log), tempfile.TemporaryDirectory() as folder:
        result = measure_efficiency(Study(profile, Path(folder)))
    shown = {"published": ("ms", "saved MiB"), "inference": ("ms", "peak MiB"),
             "serving": ("p50 ms",), "training": ("targets/s",)}  # fmt: skip
    for table, value in ((table, value) for table, values in shown.items() for value in values):
        for row in result.frames[table].iter_rows(named=True):
            if row.get(value) is not None:
                batch = f", batch {row['batch']}" if "batch" in row else ""
                what = f"{table}: {row['encoder']}{batch}, {value}"
                yield GpuNumber(what, row[value], value.split()[-1])


def random_log(name: str, users: int, items: int, events: int) -> Any:
    """Return a log of random events, as many for each user."""
    import polars as pl

    from okml.data.logs import EVENT_SCHEMA, EventLog

    rng = np.random.default_rng(0)
    count = users * events
    chosen = np.concatenate([np.arange(items), rng.integers(items, size=count)])[:count]
    frame = pl.DataFrame(
        {
            "user": np.repeat(np.arange(users), events).astype(str),
            "item": rng.permutation(chosen).astype(str),
            "time": 1_000_000_000 + np.cumsum(rng.integers(0, 4_000, count)),
            "kind": ["rating"] * count,
            "value": np.ones(count),
        },
    )
    frame = frame.rename(dict(zip(frame.columns, EVENT_SCHEMA, strict=True))).cast(EVENT_SCHEMA)
    return EventLog(name, frame, 1, "random events", "none")


# ---------------------------------------------------------------------- seqrec, lightsage


def sasrec(tiny: bool) -> Numbers:
    """Train SASRec for an epoch of MovieLens-1M's shape, compiled and not."""
    from okml.seqrec.backbone import Backbone
    from okml.seqrec.batches import CausalBatches
    from okml.seqrec.interactions import Interactions
    from okml.seqrec.losses import ChunkedSoftmax
    from okml.seqrec.settings import BackboneSettings
    from okml.seqrec.splits import leave_one_out
    from okml.seqrec.tasks import EveryPosition, OptimizerSettings, build_optimizer, objective_task
    from okml.training import TrainingSettings, fit

    users, items, events, length = (30, 40, 20, 8) if tiny else (6_040, 3_416, 165, 200)
    log = Interactions.from_frame(random_log("random", users, items, events).frame)
    windows = leave_one_out(log).training_windows(log, length)
    for compiled in (False, True) if has_flex_attention(DEVICE) else (False,):
        torch.manual_seed(0)
        encoder = Backbone(log.item_count, BackboneSettings(
            length=length, width=64, heads=2, layers=2, hidden=256, dropout=0.2,
        ))  # fmt: skip
        source = CausalBatches(log, windows, padding_side=encoder.padding_side, device=DEVICE)
        objective = EveryPosition(encoder, ChunkedSoftmax())
        optimizer = build_optimizer(objective, OptimizerSettings(learning_rate=1e-3))
        settings = TrainingSettings(
            batch_size=128, max_epochs=1, mixed_precision="bf16", compile=compiled, log_every=10**6
        )
        how = ", compiled" if compiled else ""
        for epochs in (1, 2):  # the first one compiles and loads
            task = objective_task(objective, optimizer)
            seconds = seconds_of(partial(fit, task, source, settings), DEVICE)
            yield GpuNumber(f"epoch {epochs} of SASRec on MovieLens-1M's shape{how}", seconds, "s")
        yield GpuNumber(f"targets{how}", users * (events - 3) / seconds, "targets/s")


def lightsage(tiny: bool) -> Numbers:
    """Time a training step on a random graph, its batch included."""
    from benchmarks import graph_training as graph
    from okml.training import SupervisedTask, TrainingSettings, fit

    items, batch = (500, 64) if tiny else (1_000_000, 4_096)
    problem = graph.random_problem(items, 10, 16 if tiny else 128, batch)
    problem = replace(
        problem, features=problem.features.to(DEVICE), adjacency=problem.adjacency.to(DEVICE)
    )
    steps = 3 if tiny else 200
    for variant, hops in (("V0", "one hop"), ("V3", "two hops, sampled")):
        source = graph.okml_source(problem, variant, (10, 5), leave_edge_out=True)
        for _ in range(2):  # the first one loads and warms up
            module = graph.new_okml(problem, variant)
            optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
            task = SupervisedTask(module, lambda model, given: model(given), optimizer)
            settings = TrainingSettings(batch_size=batch, max_steps=steps, shuffle="none")
            seconds = seconds_of(partial(fit, task, source, settings), DEVICE)
        yield GpuNumber(f"a step of {batch:,} pairs, {hops}", 1000 * seconds / steps, "ms")


MINUTES = 25  # for all parts together
CHAPTER_S = 90  # what a chapter may take at smoke

MEASUREMENTS = (
    Part("sdxl", "SDXL of random weights, one image of 512 by 512 in float16", 155, sdxl),
    Part("llama", "activations with Llama-2 of random weights", 110, llamas),
    Part("strec", "STRec's table of efficiency at MovieLens-20M's shape", 115, strec),
    Part("sasrec", "SASRec, 2 blocks of 64, histories of 200 items", 70, sasrec),
    Part("lightsage", "LightSAGE on a random graph of a million items", 60, lightsage),
    *(
        Part(
            f"chapter {name}", f"{name} at smoke, beside the CPU", CHAPTER_S, partial(chapter, name)
        )
        for name in CHAPTERS
    ),
)
# A new chapter takes its time from the tests.
TESTS_S = 60 * MINUTES - sum(part.limit_s for part in MEASUREMENTS)

PARTS: dict[str, Part] = {
    part.name: part
    for part in (*MEASUREMENTS, Part("tests", "the tests marked gpu", TESTS_S, tests))
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=PARTS)
    parser.add_argument("file", type=Path)
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for row in PARTS[arguments.name].rows(arguments.tiny):
        rows.append(asdict(row))
        arguments.file.write_text(json.dumps(rows))  # what was measured before a failure counts


if __name__ == "__main__":
    main()
