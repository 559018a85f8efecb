"""The siamese matcher: the likely counterparts of a string in a list."""
