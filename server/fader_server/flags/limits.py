"""How much of everything: bounds that keep one careless document from hurting everybody who follows the
environment."""

from msgspec import Struct


class Limits(Struct, frozen=True, kw_only=True):
    """Counts, and lengths in characters."""

    rules: int = 100
    """Rules of a flag in one environment."""
    prerequisites: int = 50
    """Prerequisites of a flag in one environment."""
    prerequisite_depth: int = 20
    """Flags in a chain of prerequisites; evaluating a flag evaluates all of the chain below it."""
    constraints: int = 50
    """Constraints of a rule or a segment."""
    values: int = 1_000
    """Values of a constraint."""
    listed_values: int = 10_000
    """Values of a constraint that only looks them up (``in``, ``not_in``)."""
    variants: int = 100
    variant_bytes: int = 65_536
    """One variant's value, as JSON."""
    variant_depth: int = 32
    """How deep objects and lists may be nested in a variant's value."""
    targeting_keys: int = 1_000_000
    """Keys listed in a segment."""
    targeting_keys_inline: int = 1_000
    """Of these, as many as are kept and sent with the segment itself. Longer lists are kept for themselves."""
    edited_keys: int = 20_000
    """Keys added to and taken out of a long list at once."""
    text: int = 1_000
    """Descriptions, owners, reasons, tags, names and single values."""
    tags: int = 50
