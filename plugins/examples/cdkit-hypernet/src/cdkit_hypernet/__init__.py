"""A conditioning method for cdkit that generates weights."""
