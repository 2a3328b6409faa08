"""Experiments: what is done to a datacenter, what is expected of it, and what came of it."""
