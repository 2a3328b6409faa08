"""Experiments, carried out: what they do, and what is told of them."""
