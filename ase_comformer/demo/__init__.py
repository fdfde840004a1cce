"""Well-known crystals beside published values."""
