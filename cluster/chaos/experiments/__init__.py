"""Packaged experiments, each with a question."""
