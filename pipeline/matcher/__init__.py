"""The siamese matcher: how alike a source and a target are."""
