"""Run the chapter: ``python -m okml.periodic_behavior --profile cpu``."""

from okml.run import main

main("periodic_behavior")
