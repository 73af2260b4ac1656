"""scikit-learn models compiled for ONNX Runtime: converted, and checked against the model itself."""
