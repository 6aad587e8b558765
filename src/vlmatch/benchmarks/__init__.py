"""Benchmarks of trained VLMs: our own suite on held-out pictures, and public benchmarks by lmms-eval."""
