"""The image sets, the networks that judge and watch, and the reference points of the distance."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from okml.add.figures.images import frame
from okml.add.quality import two_sample_test
from okml.add.study import Study
from okml.add.workbench import EMBEDDER, EYE, Workbench
from okml.steps import StepResult

SHOWN = 10  # real images of each set in the figure
TRAINING_IMAGES, UNSEEN_IMAGES = "training images, drawn again", "unseen real images"
UNSEEN = 5000  # real images at most, the distance of which is an anchor


def describe_data(study: Study) -> StepResult:
    """Count the images of each set and keep a few to look at."""
    result, rows, shown = StepResult(), [], []
    for settings in study.profile.sets:
        images = study.workbench(settings).images
        rows.append(
            {
                "set": images.name,
                "pixels": f"{images.size} × {images.size} × {images.channels}",
                "classes": len(images.classes),
                "captions": len(set(images.train.captions)),
                "training images": len(images.train),
                "test images": len(images.test),
                "source": next(iter(images.used.values())).source,
            }
        )
        train = images.train.take(np.arange(SHOWN))
        shown.append(frame({images.name: train.pixels}, train.captions, images.name))
        result.data |= images.used
        result.notes += [images.notice] if images.notice else []
    result.frames |= {"data": pl.DataFrame(rows), "shown": pl.concat(shown)}
    return result


def describe_networks(study: Study) -> StepResult:
    """Measure the accuracy of the first seed's classifiers, and anchors of the distance."""
    result, networks, anchors, seed = StepResult(), [], [], study.profile.seeds[0]
    for settings in study.profile.sets:
        bench = study.workbench(settings)
        test = bench.images.test
        _, read = bench.metric.read(test.pixels)
        accuracy = float((read == test.labels).float().mean())
        networks.append(_network(bench, "metric network", bench.metric, accuracy))
        if settings.eye == "vit":
            for name, which in (("F of the discriminator", EYE), ("c_img", EMBEDDER)):
                vit = bench.vit(which, seed).to(study.device)
                with torch.no_grad():
                    read = vit.classify(test.pixels.to(study.device)).argmax(1).cpu()
                accuracy = float((read == test.labels).float().mean())
                networks.append(_network(bench, name, vit, accuracy))
        else:
            eye = bench.eye(seed)
            networks.append(_network(bench, "F of the discriminator and c_img", eye, None))
        teacher = bench.teacher(seed)
        networks.append(_network(bench, "teacher, and each student", teacher, None))
        anchors += _anchors(bench)
    result.frames |= {"networks": pl.DataFrame(networks), "anchors": pl.DataFrame(anchors)}
    result.log("metric_network_accuracy", float(str(networks[0]["test accuracy"])))
    return result


def _network(
    bench: Workbench, name: str, network: torch.nn.Module, accuracy: float | None
) -> dict[str, object]:
    return {
        "set": bench.images.name,
        "network": name,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "test accuracy": accuracy,
    }


def _anchors(bench: Workbench) -> list[dict[str, object]]:
    """Return the distance of sets that nobody would take for good samples, and of real images."""
    train, test = bench.images.train, bench.images.test
    requests = bench.requests(bench.profile.seeds[0])
    means = torch.stack(
        [train.pixels[train.labels == label].mean(0) for label in range(len(bench.images.classes))]
    )
    seed = bench.profile.seeds[0]
    drawn = {
        "noise": bench.codec.decode(requests.noise),
        "the mean image of each class": means[requests.labels],
        "one Gaussian a class, in pixels": bench.sample("class Gaussians", 1, seed),
        TRAINING_IMAGES: bench.sample("training images", 1, seed),
    }
    sets = {name: (pixels, requests.labels, requests.prompts) for name, pixels in drawn.items()}
    some = slice(UNSEEN)
    sets[UNSEEN_IMAGES] = (test.pixels[some], test.labels[some], bench.test_prompts[some])
    rows, told = [], _told_apart(bench)
    for name, (pixels, labels, prompts) in sets.items():
        found = bench.judge(pixels, labels, prompts).quality
        rows.append(
            {
                "set": bench.images.name,
                "images": name,
                "number": len(pixels),
                "FD": found.fd,
                "accuracy": found.accuracy,
                "alignment": found.alignment,
                "precision": found.precision,
                "recall": found.recall,
                "told apart": told.get(name, found.told_apart),
            }
        )
    return rows


def _told_apart(bench: Workbench) -> dict[str, float]:
    """Return how often real images are told from other real ones, no image from itself.

    Unseen images are halved; training images are taken once each, since those of a class that are
    drawn again and again would be nearest to themselves.
    """
    unseen, train = bench.judge.unseen, bench.judge.training
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    answers = {
        UNSEEN_IMAGES: two_sample_test(unseen[::2], unseen[1::2]),
        TRAINING_IMAGES: two_sample_test(train[order.to(train.device)], unseen),
    }
    return {name: float(right.mean()) for name, right in answers.items()}
