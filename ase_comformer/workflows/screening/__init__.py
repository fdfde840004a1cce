"""Screening of very many structures: chunks, places that compute them, shards of the table."""
