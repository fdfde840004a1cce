"""One module per command; each has a function of its own name."""
