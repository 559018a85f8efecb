"""Run folders below models/: where each training and each group is kept, and in what it ran."""
