"""Character sequence-to-sequence models from few pairs and many targets."""
