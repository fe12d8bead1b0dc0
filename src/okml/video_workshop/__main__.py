"""Run the chapter: ``python -m okml.video_workshop --profile cpu``."""

from okml.run import main

main("video_workshop")
