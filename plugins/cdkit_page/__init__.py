"""The page of `cdkit demo`: say it, and see it form, on this machine alone."""
