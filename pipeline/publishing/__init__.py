"""What MLflow lacks of the comparison in models/ and reports/, and how it gets there."""
