"""Guest memory: page groups, what is in them, and how guests write them."""
