"""Conditioning methods: one file each."""
