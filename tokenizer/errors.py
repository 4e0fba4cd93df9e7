"""Errors that say whose fault it was: a ValueError of vistok is a wrong call, this one is work that failed."""


class WorkFailedError(RuntimeError):
    """The call was right and the work failed, as a run that diverged; commands print its sentence and exit 1."""
