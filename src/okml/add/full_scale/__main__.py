"""``python -m okml.add.full_scale``: check, prepare shards, train, evaluate, time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml
from accelerate.utils import get_int_from_env
from torch import distributed

from okml.add.config import PROFILES
from okml.add.full_scale import run
from okml.add.full_scale.prepare import prepare as prepare_shards
from okml.add.full_scale.prerequisites import require
from okml.add.full_scale.settings import EXAMPLES, TABLE_1, FullScaleSettings, table_1
from okml.console import report_errors
from okml.errors import ParameterError

app = typer.Typer(no_args_is_help=True, add_completion=False)

Row = Annotated[str, typer.Option(help=f"Row of Table 1: {', '.join(TABLE_1)}.")]
File = Annotated[Path | None, typer.Option(help="YAML with settings that replace defaults.")]
Folder = Annotated[Path, typer.Option(help="Folder of the run.")]


def settings_of(row: str, file: Path | None) -> FullScaleSettings:
    """Return the settings of a row of Table 1 over those of a file."""
    if row not in TABLE_1:
        raise ParameterError(f"Table 1 has no row {row!r}.", f"Known: {', '.join(TABLE_1)}.")
    try:
        values = {} if file is None else yaml.safe_load(file.read_text(encoding="utf-8"))
        return table_1(FullScaleSettings.model_validate(values or {}))[row]
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ParameterError(f"{file} holds no settings: {error}") from None


def shared(settings: FullScaleSettings) -> FullScaleSettings:
    """Return the settings of one process of a launcher: they share a step's micro-batches.

    Raises:
        ParameterError: If these cannot be shared equally.
    """
    parts, processes = settings.training.gradient_accumulation, get_int_from_env(["WORLD_SIZE"], 1)
    if parts % processes:
        raise ParameterError(
            f"{processes} processes cannot share the {parts} micro-batches of a step equally.",
            f"Start a number of processes that divides {parts}.",
        )
    update = {"gradient_accumulation": parts // processes}
    return settings.model_copy(update={"training": settings.training.model_copy(update=update)})


@app.command()
def prepare(
    urls: str,
    row: Row = "default",
    file: File = None,
    examples: Annotated[int, typer.Option(min=1, help="At which to stop.")] = EXAMPLES,
) -> None:
    """Write training shards from raw webdataset shards of captioned images.

    Latents are those of the row's student: prepare once for each family of students. Run it under
    ``accelerate launch`` to use several GPUs; a call that was stopped goes on at its last shard.
    """
    written = prepare_shards(settings_of(row, file), urls, examples)
    typer.echo(f"{len(written)} shards in {written[0].parent}" if written else "nothing usable")


@app.command()
def check() -> None:
    """List what the chapter's profile gpu still needs here, and fetch what can be fetched."""
    published = PROFILES["gpu"].published
    require(published.settings(), published.released)
    typer.echo("everything is here")


@app.command()
def train(run_dir: Folder, row: Row = "default", file: File = None) -> None:
    """Distil, or go on with a distillation; run it under ``accelerate launch`` for more GPUs."""
    history = run.train(shared(settings_of(row, file)), run_dir)
    if get_int_from_env(["RANK"], 0) == 0:
        typer.echo(f"{history.steps} steps, stopped by {history.stopped_by}")
    if distributed.is_initialized():
        distributed.destroy_process_group()


@app.command()
def evaluate(run_dir: Folder, row: Row = "default", file: File = None) -> None:
    """Print FID-5k and CLIP scores on COCO 2017."""
    for name, (value, *_) in run.evaluate(settings_of(row, file), run_dir).items():
        typer.echo(f"{name}\t{value:.4f}")


@app.command()
def released() -> None:
    """Score and time released students and guided teachers: Table 2, without any training.

    It is a step of the chapter's profile gpu, whose run finds it done.
    """
    from okml.add.experiment import Experiment

    table = Experiment(PROFILES["gpu"]).released.frames["table_2"]
    typer.echo(table.write_csv(separator="\t", float_precision=3), nl=False)


if __name__ == "__main__":
    with report_errors():
        app()
