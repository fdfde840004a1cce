"""Heads: node features to the tensors of crystals and atoms."""
