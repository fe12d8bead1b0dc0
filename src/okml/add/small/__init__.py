"""The small networks of the chapter, in place of SDXL, DINOv2 and Inception on a CPU."""
