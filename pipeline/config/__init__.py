"""params.yaml: what may stand in it, and all that is wrong with it at once."""
