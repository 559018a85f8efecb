"""Measurements that the README quotes; they use the package, and nothing of the package uses them."""
