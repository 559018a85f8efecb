"""Which candidate comes first: what pairs and target list say of it, and rerankers fitted on that."""
