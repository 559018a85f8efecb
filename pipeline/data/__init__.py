"""From raw files to prepared data: symbols, alphabets, stores, splits, alignment and scoring of strings."""
