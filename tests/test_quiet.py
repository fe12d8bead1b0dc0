import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_libraries_of_graphs_come_without_a_warning():
    command = [sys.executable, "-c", "import okml.lightsage.network.encoder"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
