"""Numbers of bytes, as sums of products of arguments or fields."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """The product of what ``factors`` name, times ``scale``."""

    factors: tuple[str, ...]
    scale: int = 1


@dataclass(frozen=True)
class Length:
    """A sum of terms; without any it is the rest of a record, or of an answer."""

    terms: tuple[Term, ...]

    def __add__(self, other: "Length") -> "Length":
        return Length(self.terms + other.terms)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all arguments or fields in it."""
        return tuple(name for term in self.terms for name in term.factors)


REST = Length(())


def bytes_of(*factors: str, scale: int = 1) -> Length:
    """Return the product of the named arguments or fields, times ``scale`` bytes."""
    return Length((Term(factors, scale),))
