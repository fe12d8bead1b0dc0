"""Run targets of make one after another: say which runs, keep a log, and sum up what each took.

    python .ci/stages.py NAME TARGET...

Targets that a plus joins, such as ``types+unit``, run side by side. What is printed goes into
``_build/logs/NAME.log`` too. The first target that fails is the last.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

LOGS = Path("_build/logs")


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


def main(name: str, *targets: str) -> int:
    """Run the targets and return the exit code."""
    LOGS.mkdir(parents=True, exist_ok=True)
    rows, well = [], True
    with (LOGS / f"{name}.log").open("wb") as log:
        begun = time.monotonic()
        for target in targets:
            if not well:
                rows.append(f"  {target:12}            not run")
                continue
            say(log, f"{time.strftime('%H:%M:%S')}  {target} starts")
            started = time.monotonic()
            well = run(target, log)
            took, outcome = time.monotonic() - started, "done" if well else "failed"
            say(log, f"{time.strftime('%H:%M:%S')}  {target} ends: {outcome}, {took:.1f} s", "")
            rows.append(f"  {target:12} {took:7.1f} s  {outcome}")
        rows.append(f"  {'all':12} {time.monotonic() - begun:7.1f} s  {log.name}")
        say(log, f"make {name}", *rows)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
