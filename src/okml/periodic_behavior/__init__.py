"""Periodic behavior of training with batch normalization and weight decay (Lobacheva et al.)."""
