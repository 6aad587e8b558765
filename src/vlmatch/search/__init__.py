"""Search under a budget: successive halving of a list of encoders, however they are trained."""
