"""How often a property is tried whose examples take long."""

from hypothesis import settings

DEAR = settings(max_examples=settings.default.max_examples * 2 // 5)  # type: ignore[union-attr]
"""A decorator below `@given`: two fifths of what the profile says, so 20, or 400 with --long."""
