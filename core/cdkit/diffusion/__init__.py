"""How a picture turns into noise and back: schedules, predictions, weightings, grids, the denoiser, and counted randomness."""
