"""The network: one convolution, the grid of its variants, and their costs."""
