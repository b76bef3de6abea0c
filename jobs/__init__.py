"""One input file to one output file: read, restore, write whole or not at all, report."""
