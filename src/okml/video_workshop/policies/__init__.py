"""Policies learned from a log: top-K off-policy REINFORCE and constrained actor-critics."""
