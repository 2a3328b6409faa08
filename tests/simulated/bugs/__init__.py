"""Bugs to plant: each is one way in which agents, arrays or the VRM could be wrong.

They replace methods for as long as a block lasts; the product knows nothing of them. Each module
has ``planted()``, what it does in its docstring, and ``SEEDS``: within so many it must be found.
``FIRST`` is the one of them that is tried first, where it is not 1.
Where that takes other faults, more orders or another datacenter than most, it has its own ``PLAN``,
``GAP_S``, ``KINDS`` of orders or ``DATACENTER``, and ``AIMED`` faults.
"""
