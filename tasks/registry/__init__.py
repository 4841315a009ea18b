"""MLflow tracking, model versions and aliases, the pyfunc model, the promotion gate."""
