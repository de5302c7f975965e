"""Data sets, modality features, negatives and the training loader."""
