"""Where a training is watched from elsewhere."""
