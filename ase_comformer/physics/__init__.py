"""Physics on top of tensors and forces: pure functions."""
