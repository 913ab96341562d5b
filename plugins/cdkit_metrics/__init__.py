"""Scores that need no outside network."""
