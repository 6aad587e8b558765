"""Search under a budget: successive halving of a list of encoders, whoever trains them."""
