"""Geometry of aligned faces: templates, similarity transforms, antialiased resampling, crops."""
