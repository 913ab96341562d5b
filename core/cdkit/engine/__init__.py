"""What is done with a model: train it, keep it, load it, draw with it, judge it."""
