"""MLflow: the way into it, what its runs and saved views show, and the runs themselves."""
