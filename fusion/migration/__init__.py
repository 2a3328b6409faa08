"""Live migration as arithmetic: rounds, convergence, compression, and what is to be expected."""
