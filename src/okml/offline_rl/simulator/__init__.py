"""FunnelSim: a simulated shop with known long-term returns."""
