import os

if "OKML_OTHER_SEEDS" in os.environ:
    from tests.tools import other_seeds as other_seeds
