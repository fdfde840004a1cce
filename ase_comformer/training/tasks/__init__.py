"""Makes what a network learns from: batches and losses."""
