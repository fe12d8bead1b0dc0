"""What one card can show in 25 minutes, without a network: ``make gpu-check``.

Every part is a process of its own with a limit of time; a part that fails or is late is in the
record with its reason, and the others go on. What the chapters read at smoke is fetched before.

    python -m benchmarks.gpu.check --out results/benchmarks/gpu_check.json
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.parts import MINUTES, PARTS, Part
from okml.benchmark import GpuCheck, GpuNumber, GpuPart
from okml.chapters import CHAPTERS, chapter
from okml.console import report_errors
from okml.data import catalog, fetch
from okml.errors import ParameterError
from okml.paths import repository_root
from okml.runtime import environment

REASON = 600  # characters of the last lines of a part that failed


def run(part: Part, tiny: bool, limit_s: float) -> GpuPart:
    """Run a part in a process of its own and return what it measured, or why it did not."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        out, log = Path(folder) / "measured.json", Path(folder) / "log"
        command = [sys.executable, "-m", "benchmarks.gpu.parts", part.name, str(out)]
        with log.open("w") as said:
            process = subprocess.Popen(
                [*command, *(["--tiny"] if tiny else [])],
                cwd=repository_root(), env=os.environ | {"TQDM_DISABLE": "1"},
                stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            failed = ""
            try:
                if process.wait(max(1.0, limit_s)):
                    failed = f"ended with {process.returncode}"
            except subprocess.TimeoutExpired:
                failed = f"took longer than {limit_s:.0f} s"
            finally:
                _end(process)
        if failed:
            failed = f"{failed}: {log.read_text(errors='replace').strip()[-REASON:]}"
        rows = json.loads(out.read_text()) if out.exists() else []  # what it had measured so far
    return GpuPart(
        name=part.name,
        what=part.what,
        seconds=round(time.monotonic() - started, 1),
        limit_s=part.limit_s,
        failed=failed,
        measured=tuple(GpuNumber(**row) for row in rows),
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a part with all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def chosen(names: Sequence[str]) -> list[Part]:
    """Return the parts of these names; all if there are none.

    Raises:
        ParameterError: If there is no such part.
    """
    if unknown := set(names) - PARTS.keys():
        raise ParameterError(f"No part {unknown.pop()!r}.", f"Parts: {', '.join(PARTS)}.")
    return [PARTS[name] for name in names or PARTS]


def bring_data(parts: Sequence[Part]) -> None:
    """Fetch what the chapters among the parts read at smoke; without a network it has to be here.

    Raises:
        DataError: If it cannot be had; the message says what to do.
    """
    names = {part.name for part in parts}
    for found in map(chapter, CHAPTERS):
        if f"chapter {found.name}" in names:
            for data in found.plan(found.profile("smoke")).data:
                if data in catalog():  # and no folder of this machine
                    fetch(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tiny", action="store_true", help="smallest sizes, to try the parts")
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)}; all if none")
    arguments = parser.parse_args()
    if not environment().gpus and not arguments.tiny:
        raise SystemExit("torch finds no accelerator: see `okml doctor`.")
    parts = chosen(arguments.parts)
    bring_data(parts)
    deadline = time.monotonic() + 60 * MINUTES
    done = []
    for part in parts:
        found = run(part, arguments.tiny, min(part.limit_s, deadline - time.monotonic()))
        done.append(found)
        state = found.failed.partition("\n")[0] or f"{len(found.measured)} numbers"
        print(f"{part.name:18} {found.seconds:6.1f} s  {state}", flush=True)
        GpuCheck.write(arguments.out, parts=done, tiny=arguments.tiny)  # a kill loses one part
    raise SystemExit(any(part.failed for part in done))


if __name__ == "__main__":
    with report_errors():
        main()
