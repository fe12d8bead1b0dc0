"""The network: the convolution, its variants, and their costs."""
