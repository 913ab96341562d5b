"""A training on many GPUs, before it is begun: memory, time, traffic, failures and cost, out of a spec and a few measurements."""
