"""Recommenders on a stream: serving, evaluation on the next period, and then an update."""
