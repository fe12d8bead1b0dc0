"""The plan of a run of the chapter, from sizes and counts alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch

from okml.add.arms import (
    ALTERNATIVES,
    ARMS,
    Arm,
    Job,
    all_jobs,
    distillations,
    drawn_steps,
    searches,
    tunings,
)
from okml.add.full_scale import planning as full_scale
from okml.add.full_scale import prerequisites
from okml.add.full_scale.architectures import PUBLISHED_PARAMETERS
from okml.add.full_scale.models import PIPELINES
from okml.add.full_scale.settings import EXAMPLES, FullScaleSettings
from okml.add.images.prompts import SENTENCE_MODEL
from okml.add.profile_settings import AddProfile, PublishedSettings, SetSettings
from okml.add.settings import AddSettings
from okml.add.small.unet import small_unet
from okml.data import entry
from okml.plan import CARD_PROCESS_GIB, CPU_WORKERS, PASSES, Item, Plan, downloads, sum_of
from okml.runtime import GIB

# What the hours of small networks assume, measured in seconds of a core of its own, in which a step
# of a teacher of the digits takes 0.04 and one of their students 0.09; two run at a time, slower.
CPU_FLOPS, SMALL_GPU_FLOPS = 0.12e12, 30e12  # a second, of a core and of an H100, in float32
CPU_STEP, GPU_STEP = 0.03, 0.02  # seconds of a step beside the operations of the network
CPU_HEADS = 0.05  # seconds that a discriminator adds
# A step runs EfficientNet on real and on generated images, and backward at twice the cost. On a
# core its convolutions of single channels are slower than their operations tell, by a factor.
EFFICIENTNET_FLOPS = 4 * 0.8e9 / 224**2  # a pixel of its input takes so many
EFFICIENTNET_SLOWER = 2.5
JUDGING_SECONDS = 0.5  # a set of samples takes them, its left-out groups included
START_SECONDS = 12  # interpreter and torch, in the parent and then in the workers

COCO_IMAGES = 5000
PREPARE = "python -m okml.add.full_scale prepare URLS"
PROCESS_GIB = 0.6  # interpreter, torch, diffusers, frames; .57 to .69 on two makes of processor
EFFICIENTNET_GIB = 0.6  # of a process: what a step through it keeps
CHECKPOINTS = 2


def plan(profile: AddProfile) -> Plan:
    """Return parameters, memory, disk, data and hours of a run, with the arithmetic shown."""
    jobs, rows = all_jobs(profile), profile.published.settings()
    hours = [_small_hours(profile, settings, jobs) for settings in profile.sets]
    hours += [_sampling(profile, settings) for settings in profile.sets]
    if not profile.for_gpu:
        hours.append(Item.hours("starting", START_SECONDS, "measured"))
    hours += [_row_hours(name, settings) for name, settings in rows.items()]
    hours += _released_hours(profile)
    card, outside = _largest(profile.published)
    looks = any(settings.eye == "efficientnet" for settings in profile.sets)
    on_cpu = (1 + CPU_WORKERS) * (PROCESS_GIB + EFFICIENTNET_GIB * looks)
    processes = CARD_PROCESS_GIB if profile.for_gpu else on_cpu
    return Plan.of(
        profile,
        sizes=_parameters(profile),
        hours=hours,
        device=card,
        beside=outside,
        disk=[
            downloads(_entries(profile), "data and models on disk"),
            Item.product(
                "captioned images to train published models",
                examples=EXAMPLES,
                bytes=full_scale.EXAMPLE_BYTES,
                autoencoders=len({settings.student for settings in rows.values()}),
            ),
            _checkpoints(jobs, rows),
        ],
        first=_to_do_first(profile),
        memory_gib=processes + _peak(outside),
        shared_gib=max(map(full_scale.shared_memory, rows.values()), default=0) / GIB,
        data=_entries(profile),
        filled_first={
            str(settings.shard_folder): f"{PREPARE} --row {name}"
            for name, settings in reversed(rows.items())
        },
        jobs=len(rows) or len(jobs),  # memory is that of a row, if any
    )


@cache
def _network(settings: SetSettings) -> tuple[int, float]:
    """Return parameters and operations of a forward pass for one image."""
    from torch.utils.flop_counter import FlopCounterMode

    channels = (3 if settings.images == "emoji" else 1) * settings.patch**2
    side = settings.size // settings.patch
    network = small_unet(side, channels, settings.channels)
    image = torch.zeros(1, channels, side, side)
    prompt = {"class_labels": torch.zeros(1, 4 * settings.channels[0])}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image, torch.tensor([0]), prompt)
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops()


def _small_hours(profile: AddProfile, settings: SetSettings, jobs: list[Job]) -> Item:
    """Add up the steps of all trainings of a set, and passes of the network over images.

    A search of a learning rate counts as one more training: some take none, others several.
    """
    _, flops = _network(settings)
    run, own = settings.distillation, [job for job in jobs if job.settings == settings]
    # All else waits for the teachers: beside the only one a second worker is idle.
    teachers = [job for job in jobs if job.what == "teacher"]
    alone = 1 if profile.for_gpu else CPU_WORKERS / min(CPU_WORKERS, len(teachers))
    steps = alone * settings.teacher.steps * sum(job.settings == settings for job in teachers)
    passes = steps * settings.teacher.batch * PASSES
    looks = 0  # steps in which a discriminator is trained
    for job in own:
        if job.what in ARMS or job.what in ALTERNATIVES:
            arm = ARMS.get(job.what)
            steps += run.steps
            passes += run.steps * run.batch * _passes(settings.add, arm)
            looks += run.steps * (arm is not None and arm.settings(settings.add).adversarial)
    operations = passes * flops
    seconds = steps * GPU_STEP if profile.for_gpu else steps * CPU_STEP + looks * CPU_HEADS
    if settings.eye == "efficientnet":
        pixels = looks * run.batch * settings.efficientnet_side**2
        operations += EFFICIENTNET_SLOWER * EFFICIENTNET_FLOPS * pixels
    rate, workers = (SMALL_GPU_FLOPS, 1) if profile.for_gpu else (CPU_FLOPS, CPU_WORKERS)
    return Item.hours(
        f"{len(own)} trainings on {settings.images}",
        (operations / rate + seconds) / workers,
        f"{passes:,.0f} passes over an image · {flops / 1e6:.1f} MFLOP, with features "
        f"{operations / 1e12:.1f} TFLOP at {rate / 1e12:g} TFLOP/s, and {seconds:,.0f} s of "
        f"{steps:,.0f} steps; {workers} at a time",
    )


def _passes(default: AddSettings, arm: Arm | None) -> int:
    """Return the passes of the network over an image in a step; None: of an alternative."""
    guided = 1 + (default.guidance != 1)  # calls of the teacher for one answer
    if arm is None:
        return PASSES + 1 + guided
    settings = arm.settings(default)
    return PASSES + settings.teacher_steps * guided * (settings.distillation != "none")


def _sampling(profile: AddProfile, settings: SetSettings) -> Item:
    _, flops = _network(settings)
    arms = [job for job in distillations(profile) if job.settings == settings]
    trying = [*tunings(profile), *searches(profile)]
    chosen = [job for job in trying if job.settings == settings]
    sets = sum(len(drawn_steps(profile, job)) for job in arms)
    seeds, guided = len(profile.seeds_of(settings)), 1 + (settings.add.guidance != 1)
    calls = guided * seeds * (sum(settings.teacher_steps) + sum(settings.solver_steps))
    calls += sum(sum(drawn_steps(profile, job)) for job in arms) + 3 * seeds + len(chosen)
    calls += 2 * settings.watch * (len(arms) + len(chosen))  # averaged weights and plain ones
    rate = SMALL_GPU_FLOPS if profile.for_gpu else CPU_FLOPS
    judged = seeds * (len(settings.teacher_steps) + len(settings.solver_steps))
    judged += sets + len(chosen)
    return Item.hours(
        f"samples of {settings.images}",
        calls * settings.samples * flops / rate + judged * JUDGING_SECONDS,
        f"{calls} calls · {settings.samples:,} images · {flops / 1e6:.1f} MFLOP at "
        f"{rate / 1e12:g} TFLOP/s, and {JUDGING_SECONDS:g} s to judge each of {judged} sets",
    )


def _parameters(profile: AddProfile) -> list[Item]:
    sizes = {}
    for settings in profile.sets:
        why = f"UNet2DModel of widths {', '.join(map(str, settings.channels))}"
        sizes[f"the student on {settings.images}"] = _network(settings)[0], why
    for name in ("sd21", "sdxl") if profile.published.rows else ():
        sizes[name] = PUBLISHED_PARAMETERS[f"unet.{name}"], "the published configuration"
    return [Item.number(f"parameters of {what}", *size) for what, size in sizes.items()]


def _row_hours(name: str, settings: FullScaleSettings) -> Item:
    """Return the hours of a row of Table 1: training, and images for its evaluation."""
    training, counts = full_scale.training_hours(settings), settings.evaluation_steps
    calls, images = sum(counts), len(counts)
    tera = COCO_IMAGES * full_scale.drawing_tera(settings.student, settings.side, calls, images)
    return Item(
        what=f"Table 1, {name}",
        value=training.value + tera * 1e12 / full_scale.SUSTAINED_TF32 / 3600,
        unit="h",
        follows_from=f"{training.follows_from}; {tera:,.0f} TFLOP to draw",
    )


def _released_hours(profile: AddProfile) -> list[Item]:
    """Return the hours of Table 2: images of released students and of guided teachers."""
    base, released = profile.published.base, profile.published.released
    counts, draws = released.student_steps, released.teacher_draws
    calls = sum(steps * (1 + (guidance != 1)) for steps, guidance in draws)
    students = sum(
        full_scale.drawing_tera(name, base.side, sum(counts), len(counts))
        for name in released.students
    )
    teachers = sum(
        full_scale.drawing_tera(name, base.teacher_side(name), calls, len(draws))
        for name in released.teachers
    )
    tera, rate = students + teachers, full_scale.SUSTAINED_TF32
    if not tera:
        return []
    return [
        Item.hours(
            "Table 2, released students and guided teachers",
            COCO_IMAGES * tera * 1e12 / rate,
            f"{COCO_IMAGES:,} captions · {tera:,.0f} TFLOP, of images of the side that each was "
            f"trained for, at {rate / 1e12:g} TFLOP/s in TF32",
        )
    ]


def _largest(published: PublishedSettings) -> tuple[list[Item], list[Item]]:
    """Return the memory of the card, and outside it, of what takes the most of each."""
    card, outside = [], []
    for row, settings in published.settings().items():
        card.append(_named(row, full_scale.card_memory(settings)))
        outside.append(_named(row, full_scale.host_memory(settings)))
    for name in published.released.teachers:
        card.append(_named(PIPELINES[name], full_scale.drawing_memory(name, published.base)))
        outside.append(_named(PIPELINES[name], full_scale.drawing_host_memory(name)))
    return max(card, key=sum_of, default=[]), max(outside, key=_peak, default=[])


def _named(row: str, items: Sequence[Item]) -> list[Item]:
    return [item.model_copy(update={"what": f"{row}: {item.what}"}) for item in items]


def _peak(moments: Sequence[Item]) -> float:
    return max((item.value for item in moments), default=0.0)


def _entries(profile: AddProfile) -> list[str]:
    names = {"fashion": "fashion_mnist", "emoji": "noto_emoji"}
    found = [names[settings.images] for settings in profile.sets if settings.images in names]
    if any(settings.eye == "efficientnet" for settings in profile.sets):
        found.append("efficientnet_lite0")
    if any(settings.text == "sentences" for settings in profile.sets):
        found.append(SENTENCE_MODEL)
    return found + prerequisites.entries(profile.published.settings(), profile.published.released)


def _to_do_first(profile: AddProfile) -> list[Item]:
    """Return what no program can supply; `python -m okml.add.full_scale check` looks for it."""
    items = []
    if profile.published.rows:
        packages = sorted(prerequisites.PACKAGES.values())
        why = f"{', '.join(packages)}: the extra `add`; torch-fidelity fetches "
        why += "Inception-v3 (0.1 GB) for FID"
        items.append(Item.number("packages to install first", len(packages), why))
    terms = {entry(name).license.id for name in _entries(profile) if entry(name).license.accept}
    if terms:
        why = f"OKML_ACCEPT={','.join(sorted(terms))} says that you have"
        items.append(Item.number("licenses to accept first", len(terms), why))
    return items


def _checkpoints(jobs: list[Job], rows: dict[str, FullScaleSettings]) -> Item:
    small = sum(16 * _network(job.settings)[0] for job in jobs)
    published = sum(
        CHECKPOINTS * 16 * PUBLISHED_PARAMETERS[f"unet.{s.student}"] for s in rows.values()
    )
    return Item.sum("checkpoints on disk", small_trainings=small, published_rows=published)
