"""A text encoder for cdkit out of open_clip."""
