"""The experiments of the chapter: each takes a Study and returns what it measured."""
