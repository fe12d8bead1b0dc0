"""The paper's sizes: Stable Diffusion students, DINOv2 discriminator, shards of real images."""
