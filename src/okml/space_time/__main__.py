"""Run the chapter: ``python -m okml.space_time --profile cpu``."""

from okml.run import main

main("space_time")
