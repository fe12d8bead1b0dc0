"""Run the chapter: ``python -m okml.strec --profile cpu``."""

from okml.run import main

main("strec")
