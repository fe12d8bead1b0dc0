"""Turns each seed into another one, where OKML_OTHER_SEEDS says by how much.

What holds for one seed only is luck, or an example that says so. The package ``tests`` imports
this, so that the programs that tests run draw from other seeds, too.
"""

import os
import random
from functools import wraps
from multiprocessing import spawn
from numbers import Integral

import numpy as np
import torch

SHIFT = int(os.environ["OKML_OTHER_SEEDS"])


def shifted(seed):
    """Return another seed of the same kind; what is no number, such as a generator, stays."""
    if isinstance(seed, Integral):
        return seed + SHIFT
    if isinstance(seed, list | tuple):
        return [shifted(part) for part in seed]
    return seed


def with_other_seed(seeded):
    @wraps(seeded)
    def call(seed=None, *arguments, **keywords):
        return seeded(shifted(seed), *arguments, **keywords)

    return call


def with_this_module(prepare):
    @wraps(prepare)
    def call(name):
        prepared = prepare(name)
        if prepared.get("init_main_from_name", "").startswith("tests."):
            return prepared  # that module imports the package tests, and may be asked for classes
        prepared.pop("init_main_from_name", None)
        return prepared | {"init_main_from_path": __file__}

    return call


# A worker runs this as its main module, and some programs of tests have no torch but a stub.
if hasattr(torch, "Generator") and not hasattr(np.random.default_rng, "__wrapped__"):

    class Generator(torch.Generator):
        def manual_seed(self, seed):
            return super().manual_seed(shifted(seed))

    random.seed = with_other_seed(random.seed)
    np.random.seed = with_other_seed(np.random.seed)
    np.random.default_rng = with_other_seed(np.random.default_rng)
    torch.manual_seed = with_other_seed(torch.manual_seed)
    torch.Generator = Generator
    spawn.get_preparation_data = with_this_module(spawn.get_preparation_data)
