"""Memory that compiled calls may hold."""

from collections.abc import Callable

from learned_transforms.kernels import cpu


class Budget:
    """Memory that compiled calls may hold.

    Args:
        most: bytes.
        release: called where they hold more; it drops them all.
    """

    def __init__(self, most: int, release: Callable[[], None]) -> None:
        self.most, self.release, self.spent = most, release, 0

    def spend(self, held: int) -> None:
        """Count what one more call holds."""
        self.spent += held
        if self.spent > self.most:
            self.spent = held
            self.release()
            cpu.trim()
