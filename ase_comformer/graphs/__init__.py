"""Crystal graphs: neighbours, symmetry reduction, batches, reciprocal vectors."""
