"""Do language models represent space and time? Linear probes (Gurnee & Tegmark, 2023)."""
