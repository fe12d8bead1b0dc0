"""The steps of the experiment, each with measurements and frames."""
