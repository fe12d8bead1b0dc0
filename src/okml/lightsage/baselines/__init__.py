"""The baselines of LightSAGE, all with one interface: scores of all items for an item."""
