"""The figures of the chapter, each drawn from frames of a step."""
