"""Trained runs that ship with cdkit."""
