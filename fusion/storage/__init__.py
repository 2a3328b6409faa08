"""What a storage array does: space, service times, and who may write."""
