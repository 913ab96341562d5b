"""A text encoder for cdkit out of the package wordllama."""
