"""Models for others: bundled, logged, registered and served over HTTP."""
