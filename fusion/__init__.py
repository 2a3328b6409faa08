"""The pure model of a virtualised datacenter: state and functions of state, no I/O and no clock."""
