"""Bulk jobs with a trained model: score, sample, impute, embed, and export to ONNX."""
