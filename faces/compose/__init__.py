"""Composition: face masks, colour matching, blending, paste."""
