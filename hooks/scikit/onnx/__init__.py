"""Compiles scikit-learn models for ONNX Runtime, and checks the result against the model."""
