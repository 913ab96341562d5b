"""Raw values of a condition -> streams."""
