"""hedge"""
