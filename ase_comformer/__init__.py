"""ASE calculator for crystal response tensors with exact space-group symmetry."""
