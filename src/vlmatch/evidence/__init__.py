"""Evidence: the truth from trainings, published results, and how well scores predict them."""
