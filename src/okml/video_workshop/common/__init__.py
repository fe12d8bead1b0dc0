"""The parts that all themes share: the log, content, the user model, its training."""
