"""Wrong usage: reported in one sentence, exit code 2."""


class UsageError(ValueError):
    """What was typed cannot be done; the message says what was expected, what came, and what to do."""
