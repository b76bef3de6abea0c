"""The built-in detector: a cascade's proposals judged by a small landmark network."""
