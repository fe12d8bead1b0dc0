"""Adversarial diffusion distillation: one to four sampling steps (Sauer et al., 2023)."""
