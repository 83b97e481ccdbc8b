"""Memory that compiled calls may hold."""

from collections.abc import Callable

from learned_transforms.kernels import cpu

MOST_BETWEEN = 32
"""Calls that are kept until memory between them, where results lay that were larger, is given back."""


class Budget:
    """Memory that compiled calls may hold.

    Args:
        most: bytes.
        release: called where they hold more; it drops them all.
    """

    def __init__(self, most: int, release: Callable[[], None]) -> None:
        self.most, self.release, self.spent, self.kept = most, release, 0, 0

    def keep(self) -> None:
        """Count one more call that is kept."""
        self.kept += 1
        if self.kept % MOST_BETWEEN == 0:
            cpu.trim()

    def spend(self, held: int) -> None:
        """Count what one more call holds."""
        self.spent += held
        if self.spent > self.most:
            self.spent = held
            self.release()
            cpu.trim()
