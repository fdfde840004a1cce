"""Training loops, optimisers, captured and compiled steps."""
