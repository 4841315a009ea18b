"""The report of a model: one HTML page about its training, quality and anomalies."""
