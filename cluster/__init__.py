"""The running datacenter: seams, roles, and the worlds that they run in."""
