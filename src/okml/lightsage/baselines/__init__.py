"""What LightSAGE is compared with, all under one protocol: scores of all items for an item."""
