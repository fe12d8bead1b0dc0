"""Run the chapter: ``python -m okml.add --profile cpu``."""

from okml.run import main

main("add")
