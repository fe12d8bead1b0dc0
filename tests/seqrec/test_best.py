import numpy as np
import pytest

from okml.seqrec.best import best_places


def test_of_equal_scores_the_first_stands_first():
    scores = np.array([[1.0, 3.0, 3.0, 0.0, 3.0], [0.0, 0.0, 0.0, 0.0, 0.0], [-np.inf, 1, 1, 2, 1]])
    assert best_places(scores, 3).tolist() == [[1, 2, 4], [0, 1, 2], [3, 1, 2]]
    assert best_places(scores, 5).tolist()[2] == [3, 1, 2, 4, 0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_places_are_those_of_a_stable_sort(dtype):
    """Rows are long enough for numpy's vectorized partition, and most scores are ties."""
    scores = np.random.default_rng(0).integers(40, size=(20, 2000)).astype(dtype)
    wanted = np.argsort(-scores, axis=1, kind="stable")[:, :100]
    np.testing.assert_array_equal(best_places(scores, 100), wanted)
