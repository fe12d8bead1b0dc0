"""Run targets of make one after another: say which runs, keep a log, and sum up what each took.

    python .ci/stages.py NAME TARGET...

Targets that a plus joins, such as ``types+unit``, run side by side. What is printed goes into
``_build/logs/NAME.log`` too. The first target that fails is the last. Each time is also given in
units, a unit being the time of a fixed loop of Python, so that those of different machines compare.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

LOGS = Path("_build/logs")
LOOPS = 3_000_000


def tell(log: BinaryIO, output: bytes) -> None:
    """Write to the terminal and to the log at once."""
    for file in (sys.stdout.buffer, log):
        file.write(output)
        file.flush()


def say(log: BinaryIO, *lines: str) -> None:
    """Write lines to both."""
    tell(log, "".join(f"{line}\n" for line in lines).encode())


def run(target: str, log: BinaryIO) -> bool:
    """Run a target, pass on what it prints as it comes, and tell whether it went well."""
    names = target.split("+")
    jobs = [f"--jobs={len(names)}"] if len(names) > 1 else []
    command = ["make", "--no-print-directory", *jobs, *names]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as made:
        assert made.stdout is not None
        while output := made.stdout.read1():
            tell(log, output)
    return made.returncode == 0


def fixed_work() -> float:
    """Return how many seconds the fixed loop takes."""
    begun, total = time.monotonic(), 0
    for number in range(LOOPS):
        total += number % 7
    return time.monotonic() - begun


def main(name: str, *targets: str) -> int:
    """Run the targets and return the exit code."""
    LOGS.mkdir(parents=True, exist_ok=True)
    ended: list[tuple[str, float | None, str]] = []
    well = True
    with (LOGS / f"{name}.log").open("wb") as log:
        before = fixed_work()
        begun = time.monotonic()
        for target in targets:
            if not well:
                ended.append((target, None, "not run"))
                continue
            say(log, f"{time.strftime('%H:%M:%S')}  {target} starts")
            started = time.monotonic()
            well = run(target, log)
            took, outcome = time.monotonic() - started, "done" if well else "failed"
            say(log, f"{time.strftime('%H:%M:%S')}  {target} ends: {outcome}, {took:.1f} s", "")
            ended.append((target, took, outcome))
        ended.append(("all", time.monotonic() - begun, log.name))
        unit = (before + fixed_work()) / 2
        say(log, f"make {name}, in seconds and in units of {unit:.3f} s")
        for target, seconds, outcome in ended:
            times = "" if seconds is None else f"{seconds:7.1f} s {seconds / unit:8.1f} units"
            say(log, f"  {target:12} {times:24}  {outcome}")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
