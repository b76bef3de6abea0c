"""Reports: records while a run works, sentences at its end."""
