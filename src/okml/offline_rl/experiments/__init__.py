"""The parts of the experiment: each returns a step of measurements and frames."""
