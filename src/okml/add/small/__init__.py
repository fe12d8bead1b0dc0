"""The small networks of the chapter: what stands for SDXL, DINOv2 and Inception on a CPU."""
