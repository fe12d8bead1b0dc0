"""Small packages to reach into."""

import textwrap

from okml.code_key import Sources

FILES = {
    "__init__.py": "",
    "maths.py": '''
        """Sums."""

        FACTOR = 2  # of everything


        def scaled(x: float) -> float:
            """Return x, scaled."""
            return FACTOR * x


        def shifted(x):
            return x + 1


        def forgotten(x):
            return 0
    ''',
    "model.py": """
        from torch import nn

        from tiny.maths import scaled


        class Network(nn.Module):
            def forward(self, x):
                return scaled(x)

            def extra_repr(self):
                return "only torch calls this"
    """,
    "study.py": """
        from functools import cache

        import numpy as np

        from tiny.maths import shifted
        from tiny.model import Network


        class Study:
            def __init__(self, profile):
                self.profile = profile

            @cache
            def train(self, seed: int = 0) -> Network:
                return Network().fit(seed)

            def serve(self):
                return np.sort(shifted(self.profile))
    """,
    "experiments/__init__.py": "",
    "experiments/quality.py": """
        from tiny.study import Study


        def measure(study: Study):
            return study.train()
    """,
    "experiments/serving.py": """
        from tiny.study import Study


        def measure(study: Study):
            return study.serve()
    """,
    "figures/__init__.py": "",
    "figures/curve.py": """
        def draw(x):
            return x
    """,
}


def write_package(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), "utf-8")
    return Sources(folder)
