"""Costs: what each candidate takes, which of them a budget admits, and which are worth their price."""
