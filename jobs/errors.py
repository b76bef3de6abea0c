"""What a job can fail with before it begins."""


class JobError(ValueError):
    """A request that cannot be carried out; the message says what was expected, what came, and what to do."""
