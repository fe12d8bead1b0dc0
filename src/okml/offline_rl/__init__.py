"""Offline RL after supervised pre-training in sequential recommendation (Xi et al., 2023)."""
