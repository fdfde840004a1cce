"""What a network learns from: batches and losses."""
