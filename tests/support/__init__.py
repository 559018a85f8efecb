"""Projects, clones, stores and servers that several test modules use."""
