"""Examples: what strategies train on and are evaluated with."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """A source with its target; `also` are further targets that count as right."""

    source: str
    target: str
    also: tuple[str, ...] = ()

    @property
    def accepted(self) -> frozenset[str]:
        """Every target that counts as right."""
        return frozenset((self.target, *self.also))
