"""The siamese matcher, which scores how similar a source and a target are."""
