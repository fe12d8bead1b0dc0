"""FunnelSim: a shop whose true long-term return is known."""
