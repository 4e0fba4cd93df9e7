"""Stops a program at any call that it makes, without a process of its own."""


class StopsAt:
    """Interrupts the call of a given number, of all that it wraps.

    With `for_good` it interrupts every later call too: as in a process that was killed, nothing cleans up after the exception.
    """

    def __init__(self, number, for_good=False):
        self.left = number
        self._for_good = for_good

    def within(self, call):
        def counted(*arguments, **settings):
            self.left -= 1
            if self.left == 0 or (self._for_good and self.left < 0):
                raise KeyboardInterrupt
            return call(*arguments, **settings)

        return counted
