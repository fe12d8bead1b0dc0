"""How good generated images are, on the features of a network that no training has seen."""
