"""The training loop: ``fit``."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from accelerate.utils import gather_object

from okml.errors import BusyError, TrainingError
from okml.lifeline import follow_launcher
from okml.locks import ENDING_S, held
from okml.runtime import progress, seed_everything
from okml.training.batches import BatchSource, DataOrder, micro_batches
from okml.training.checkpoint import Checkpoint, CheckpointStore
from okml.training.describe import check_same, describe
from okml.training.ema import evaluating, in_place_of
from okml.training.engine import Engine, Step
from okml.training.events import TrainingEvents
from okml.training.guards import StopRequest, check_finite
from okml.training.history import History, MetricsLog, StopReason
from okml.training.rng import random_state, restore_random_state, unchanged_random_state
from okml.training.settings import TrainingSettings
from okml.training.task import TrainingTask


def fit(
    task: TrainingTask,
    source: BatchSource,
    settings: TrainingSettings,
    run_dir: Path | None = None,
) -> History:
    """Train ``task`` on ``source``, or resume the training in ``run_dir``.

    The random generators are seeded from ``settings.seed`` at the start, so earlier draws do not
    matter (the caller seeds before building the modules, for the initial weights). On a CPU, a
    resumed run ends with exactly the weights, metrics and data order of an uninterrupted one. A
    finished run is loaded and returned at once.

    Under ``accelerate launch`` or ``torchrun`` all processes call this with the same arguments and
    a ``run_dir`` they all can read; they share each global batch.
    Such a program ends with ``accelerate.PartialState().destroy_process_group()``: threads of a
    live process group may abort the process when Python exits.

    Args:
        task: The modules, optimizers and losses; the modules are trained in place and moved to
            the device.
        source: The training examples.
        settings: The settings of the training.
        run_dir: The folder for ``metrics.jsonl`` and ``checkpoints/``; None for a temporary
            folder, for a short training that is never resumed.

    Returns:
        The history. The task holds the weights of the last step, or of the best one if the
        settings monitor a metric.

    Raises:
        TrainingError: If a loss or gradient is not finite, or a checkpoint is damaged or of
            another run.
        BusyError: If another process trains in ``run_dir``.
        SystemExit: After SIGTERM (code 143) or SIGHUP (129), once a checkpoint is written.
        KeyboardInterrupt: After SIGINT, once a checkpoint is written.
    """
    follow_launcher()
    description = describe(task, source, settings)
    engine = Engine(task, settings)
    with ExitStack() as stack:
        stack.callback(engine.close)
        if run_dir is None:
            run_dir = engine.from_first(stack.enter_context(TemporaryDirectory()))
        else:
            stack.enter_context(_alone_in(Path(run_dir), engine))
        run = _Run(task, source, settings, Path(run_dir), engine, description)
        stack.callback(run.log.close)
        return run.to_the_end()


@contextmanager
def _alone_in(folder: Path, engine: Engine) -> Iterator[None]:
    """Lock a folder against other trainings; process 0 locks, and all raise if that fails."""
    problem = None
    with ExitStack() as stack:
        if engine.rank == 0:
            try:
                stack.enter_context(held(folder, patience=ENDING_S, reentrant=False))
            except BusyError as error:
                problem = error
        if problem := engine.from_first(problem):
            raise problem
        yield


class _Run:
    """One call of :func:`fit`: its state, and the work after each step."""

    def __init__(
        self,
        task: TrainingTask,
        source: BatchSource,
        settings: TrainingSettings,
        run_dir: Path,
        engine: Engine,
        description: dict[str, Any],
    ) -> None:
        self.task, self.source, self.settings, self.engine = task, source, settings, engine
        self.order = DataOrder(
            len(source),
            settings.batch_size,
            settings.shuffle,
            settings.seed,
            engine.processes,
            settings.gradient_accumulation,
            task.least_micro_batch,
        )
        self.limit, self.limited_by = self._limit()
        self.step = 0
        self.seconds = 0.0  # time of training, with that before a resumption
        self.saved_at = 0.0  # seconds of training in the last checkpoint
        self.best_step: int | None = None
        self.best_value: float | None = None
        self.waited = 0  # evaluations since the best one
        self.description = description | {"processes": engine.processes}
        self.store = CheckpointStore(run_dir, settings.keep_checkpoints)
        seed_everything(settings.seed + engine.rank)
        saved = self.store.steps()
        if saved:
            self._resume(saved[-1])
        if engine.rank == 0:
            self.store.clean()
        self.log = MetricsLog(
            run_dir, self.step, write=engine.rank == 0, tensorboard=settings.tensorboard
        )
        self.events = TrainingEvents(
            run_dir,
            settings,
            engine.accelerator.device,
            self.order.steps_per_epoch,
            self.limit,
            write=engine.rank == 0,
        )

    def to_the_end(self) -> History:
        """Train until a limit, early stopping, or a stop signal."""
        reason = self._reached()
        if reason:
            return self._finish(reason)
        self.events.started(self.step)
        started = time.monotonic() - self.seconds
        with StopRequest() as request:
            for step in progress(self._steps(), "training", self._remaining()):
                if reason:
                    break
                row = self._take(step)
                self.seconds = time.monotonic() - started
                reason = self._after(row)
                overdue = self.seconds - self.saved_at >= 60 * self.settings.checkpoint_minutes
                stop, save = self.engine.any_process(request.signal is not None, overdue)
                if stop or save:
                    self._save()
                if stop:
                    self.events.ended(self.step, self.seconds, None)
                    request.leave()
        self.events.ended(self.step, self.seconds, reason)
        return self._finish(reason)

    def _steps(self) -> Iterator[Step]:
        """Yield this process's micro-batches of each remaining step, endlessly."""
        epoch, first = divmod(self.step, self.order.steps_per_epoch)
        while True:
            yield from micro_batches(
                self.source, self.order, epoch, first, self.engine.rank, self.settings.workers
            )
            epoch, first = epoch + 1, 0

    def _take(self, step: Step) -> dict[str, float]:
        """Take one step and return its logged values."""
        row: dict[str, float] = {}
        for phase in self.task.phases(self.step + 1):
            measured = self.engine.run_phase(phase, step)
            check_finite(measured, self.step + 1, self.store)
            for name in phase.optimizers:
                rate = self.engine.optimizers[name].param_groups[0]["lr"]
                row[f"{name}/learning_rate"] = float(rate)
            self.engine.update(phase)
            row |= measured
        self.step += 1
        self.task.after_step(self.step)
        self.engine.update_averages()
        return row

    def _after(self, row: dict[str, float]) -> StopReason | None:
        """Evaluate, log and save as due after a step; return the reason to stop, if any."""
        reason = self._reached()
        evaluate = reason is not None or self._due_evaluation()
        improved = False
        if evaluate:
            metrics = self._evaluate()
            improved = self._compare(metrics)
            row |= metrics
            reason = reason or self._reached()
        if evaluate or self.step % self.settings.log_every == 0:
            epoch = self.step / self.order.steps_per_epoch
            self.log.append({"step": self.step, "epoch": epoch, "seconds": self.seconds, **row})
        self.events.went_on(self.step, row, self.seconds, evaluate)
        every = self.settings.checkpoint_every
        if improved or reason or (every is not None and self.step % every == 0):
            self._save()
        return reason

    def _due_evaluation(self) -> bool:
        every = self.settings.evaluate_every
        if every is None:
            return False
        unit = self.order.steps_per_epoch if self.settings.evaluate_unit == "epoch" else 1
        return self.step % (every * unit) == 0

    def _evaluate(self) -> dict[str, float]:
        """Return the metrics of the weights and, with the prefix ``ema/``, of their averages.

        Process 0 evaluates alone. Where modules are sharded all processes do, since each forward
        pass gathers weights from all.
        """
        plain, averages = self.engine.plain, self.engine.averages
        metrics: dict[str, float] = {}
        if self.engine.rank == 0 or self.engine.shards:
            with unchanged_random_state(), self.engine.accelerator.autocast(), ExitStack() as stack:
                with in_place_of(self.task, plain), evaluating(self.task):
                    metrics |= self.task.evaluate()
                used = {name: stack.enter_context(each.in_use()) for name, each in averages.items()}
                if used:
                    with in_place_of(self.task, plain | used), evaluating(self.task):
                        found = self.task.evaluate()
                    metrics |= {f"ema/{name}": value for name, value in found.items()}
        return dict(self.engine.from_first({n: float(value) for n, value in metrics.items()}))

    def _compare(self, metrics: dict[str, float]) -> bool:
        """Compare the monitored metric; return whether it is the best so far."""
        name = self.settings.monitor
        if name is None:
            return False
        if name not in metrics:
            raise TrainingError(
                f"The settings monitor {name!r} and the evaluation returns "
                f"{', '.join(sorted(metrics)) or 'nothing'}."
            )
        value = metrics[name]
        if math.isnan(value):
            raise TrainingError(f"The monitored metric {name} is NaN at step {self.step}.")
        sign = 1 if self.settings.mode == "max" else -1
        if self.best_value is not None and sign * value <= sign * self.best_value:
            self.waited += 1
            return False
        self.best_step, self.best_value, self.waited = self.step, value, 0
        return True

    def _reached(self) -> StopReason | None:
        """Return the limit that the run has reached, if any."""
        settings = self.settings
        if settings.patience is not None and self.waited >= settings.patience:
            return "early_stopping"
        if self.step >= self.limit:
            return self.limited_by
        if settings.max_seconds is None:
            return None
        (out_of_time,) = self.engine.any_process(self.seconds >= settings.max_seconds)
        return "max_seconds" if out_of_time else None

    def _limit(self) -> tuple[float, StopReason]:
        """Return the last step and the setting that determines it."""
        settings = self.settings
        steps: float = settings.max_steps or math.inf
        epochs: float = (settings.max_epochs or math.inf) * self.order.steps_per_epoch
        return (steps, "max_steps") if steps <= epochs else (epochs, "max_epochs")

    def _remaining(self) -> int | None:
        return None if math.isinf(self.limit) else int(self.limit) - self.step

    def _save(self) -> None:
        """Write a checkpoint of this step; a collective operation of all processes."""
        engine = self.engine
        weights, optimizers = engine.weights(), engine.optimizer_states()
        random_states = gather_object([random_state()])
        if engine.rank == 0:
            self.log.sync()
            state = {
                "random": random_states,
                "schedulers": {n: s.state_dict() for n, s in self.task.schedulers.items()},
                "averaged": {n: average.updates for n, average in engine.averages.items()},
                "task": self.task.state(),
                "seconds": self.seconds,
                "best_value": self.best_value,
                "waited": self.waited,
            }
            description = self.description
            self.store.save(
                Checkpoint(self.step, self.best_step, description, weights, optimizers, state)
            )
            self.events.saved(self.step, self.seconds)
        self.saved_at = self.seconds
        engine.accelerator.wait_for_everyone()

    def _resume(self, step: int) -> None:
        """Restore the state of a checkpoint."""
        engine = self.engine
        saved = self.store.load(step)
        now = self.description
        if step >= self.limit:  # nothing is left to share, so any number of processes may load it
            now = now | {"processes": saved.description["processes"]}
        check_same(saved.description, now, self.store.path(step))
        if step > self.limit:
            raise TrainingError(
                f"The run is at step {step} already, past the last one, {self.limit:.0f}.",
                "Use another run folder, or allow more steps.",
            )
        engine.load_weights(saved.weights)
        engine.load_optimizer_states(saved.optimizers)
        for name, scheduler in self.task.schedulers.items():
            scheduler.load_state_dict(saved.state["schedulers"][name])
        for name, average in engine.averages.items():
            average.updates = saved.state["averaged"][name]
        self.task.load_state(saved.state["task"])
        self.step, self.best_step = step, saved.best_step
        self.seconds = self.saved_at = saved.state["seconds"]
        self.best_value, self.waited = saved.state["best_value"], saved.state["waited"]
        restore_random_state(saved.state["random"][engine.rank])

    def _finish(self, reason: StopReason | None) -> History:
        """Load the best weights and return the history."""
        if reason is None:
            raise AssertionError("the loop ends only with a reason")
        if self.best_step is not None and self.best_step != self.step:
            self.engine.load_weights(self.store.load(self.best_step).weights)
        self.engine.accelerator.wait_for_everyone()  # process 0 may clear a temporary folder next
        return History(
            frame=self.log.frame(),
            steps=self.step,
            stopped_by=reason,
            best_step=self.best_step,
            best_value=self.best_value,
            averaged={
                name: average.module
                for name, average in self.engine.averages.items()
                if name not in self.engine.shards
            },
        )
