"""Noise and a denoiser -> a picture: one file each."""
