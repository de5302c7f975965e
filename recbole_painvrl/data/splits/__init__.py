"""Out-of-distribution splits of real data: which interactions become a test set of another distribution."""
