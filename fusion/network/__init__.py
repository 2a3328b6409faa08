"""Networks: what links carry, and how that is shared."""
