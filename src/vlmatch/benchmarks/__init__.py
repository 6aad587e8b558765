"""Benchmarks: what a trained VLM knows of held-out pictures, by the likelihood that it gives to answers."""
