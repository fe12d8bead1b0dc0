"""Objectives: rankers and policies in a simulator and on random impressions."""
