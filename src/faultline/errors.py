"""What can go wrong, and whether waiting helps.

FaultlineError
├── Rejected          never again: waiting will not make it right
│   ├── NotAnEvent    not a CloudEvent we understand
│   ├── NotAllowed    this sender may not send this
│   └── TooLarge      over a named limit
├── TryAgain          the same event may succeed later
│   ├── Busy          no room; carries retry_after_s
│   └── Unavailable   store, cluster, model or outlet did not answer
│       └── StoreDown our own store: nothing can be kept now, so nothing may go on
├── AlreadyExists     not a failure: someone wrote this key first
└── NotFound          no record under this key

A message says what was expected, what came, and what to do. `answers.py` turns these into HTTP.
"""


class FaultlineError(Exception):
    """Something of ours went wrong."""


class Rejected(FaultlineError):
    """This will never be accepted, however often it is sent."""


class NotAnEvent(Rejected):
    """This is not a CloudEvent that we understand."""


class NotAllowed(Rejected):
    """This sender may not send this."""


class TooLarge(Rejected):
    """This is over a limit."""


class TryAgain(FaultlineError):
    """The same event may succeed later."""


class Busy(TryAgain):
    """There is no room now."""

    def __init__(self, message: str, *, retry_after_s: int = 10) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(TryAgain):
    """Something that we need did not answer."""


class StoreDown(Unavailable):
    """Our own store did not answer."""


class AlreadyExists(FaultlineError):
    """Someone wrote this key first."""


class NotFound(FaultlineError):
    """There is no record under this key."""
