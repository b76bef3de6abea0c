"""Running a restorer: what it says of itself, the memory it needs, and the fallbacks where that is short."""
