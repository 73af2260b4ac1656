"""Libraries of boosted trees, each with a file format of its own."""
