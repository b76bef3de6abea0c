"""Weight files: formats, safe reading, unwrapping, recognition."""
