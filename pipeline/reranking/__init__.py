"""Features of candidates from pairs and unpaired targets, and rerankers fitted on them."""
