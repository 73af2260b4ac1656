"""Networks: arrays to arrays, in whatever framework."""
