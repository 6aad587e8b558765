"""MLflow: the connection to it, its runs, and the saved views of them."""
