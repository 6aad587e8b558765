"""The study: what trainings say about encoders, and how well scores computed before them foretell it."""
