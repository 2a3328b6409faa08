"""Live migration between two agents: the source sends, the destination takes in."""
