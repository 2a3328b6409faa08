"""What the model refuses, in sentences that a user can act on."""


class FusionError(Exception):
    """A mistake or a failure with one clear sentence; ``str(error)`` is fit for a terminal."""


class InvalidInput(FusionError):
    """What was asked for can never work as written; nothing was changed."""


class NotFound(FusionError):
    """No such host, VM, cluster or task; nothing was changed."""


class Refused(FusionError):
    """Not possible in the present state; nothing was changed."""
