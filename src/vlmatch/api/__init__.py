"""The Python API: scores, embeddings and rankings without a command line; `import vlmatch` offers all of it."""
