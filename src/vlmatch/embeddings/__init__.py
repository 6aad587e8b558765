"""Embeddings: computed once by a Lightning predict loop, verified by fingerprint and checksum ever after."""
