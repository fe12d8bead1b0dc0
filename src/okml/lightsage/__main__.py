"""Run the chapter: ``python -m okml.lightsage --profile cpu``."""

from okml.run import main

main("lightsage")
