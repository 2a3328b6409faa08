"""The storage array as a role."""
