"""One step of the smallest student against one step of its teacher, whatever trained both."""

import pytest

from okml.add.config import PROFILES
from okml.add.study import Study


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(10))
def test_a_student_of_smoke_beats_one_step_of_its_teacher(seed, tmp_path):
    bench = Study(PROFILES["smoke"].override({"seeds": [seed]}), tmp_path).main
    student, teacher = (
        bench.judged(method, 1, seed).quality.fd for method in ("default", "teacher, DDIM")
    )
    assert student < teacher
