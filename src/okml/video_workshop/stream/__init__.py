"""Recommenders on a stream: served, judged on what happens next, and only then updated."""
