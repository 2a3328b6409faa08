"""Faults: their statistics (``plan``), and schedules of them drawn from a seed (``drawing``)."""
