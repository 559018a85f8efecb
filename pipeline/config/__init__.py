"""params.yaml: reading, checking, and explaining all of its problems at once."""
