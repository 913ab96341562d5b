"""Cheaper ways through a network while it draws, one file each."""
