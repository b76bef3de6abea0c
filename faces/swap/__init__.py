"""Comparison with the picture before a face swap."""
