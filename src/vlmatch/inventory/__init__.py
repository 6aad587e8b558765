"""The inventory: every encoder and LLM that has a yaml, where its weights are, and under which licence."""
