"""Training: a trainer in plain torch, its Ray Train worker, orderings, warm starts."""
