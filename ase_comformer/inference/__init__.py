"""From structures to results."""
