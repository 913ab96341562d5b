"""Stable Diffusion's checkpoints: what others call the same tensors, and how their files are laid out."""
