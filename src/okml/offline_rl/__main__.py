"""Run the chapter: ``python -m okml.offline_rl --profile cpu``."""

from okml.run import main

main("offline_rl")
