"""Language models: the causal LM whose layer -2 gives the geometry of the captions."""
