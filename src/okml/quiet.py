"""Silence for warnings of other packages that no reader can act on."""

import warnings

# torch 2.14 and later deprecate what torch_geometric 2.8 still calls at its import.
warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", FutureWarning)
