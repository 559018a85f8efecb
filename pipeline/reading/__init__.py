"""Raw data: rows of text files, cleaned, and split into training, development and test data."""
