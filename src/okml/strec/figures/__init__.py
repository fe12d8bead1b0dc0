"""The figures of the chapter; each takes a frame of a step."""
