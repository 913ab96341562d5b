"""Comparing ways of telling: arms under one budget, and a verdict with its confidence."""
