"""Run a chapter as ``python -m okml.CHAPTER`` does, on the second device if tests ask for it.

That device lives with the tests, so no program of the package can register it.

    OKML_TEST_DEVICE=second python -m benchmarks.gpu.chapter lightsage --profile smoke
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from okml.run import main

if os.environ.get("OKML_TEST_DEVICE") == "second":
    import_module("tests.second_device.device")


if __name__ == "__main__":
    main(sys.argv.pop(1))
