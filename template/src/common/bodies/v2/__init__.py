"""V2, the Open Inference Protocol: tensors in JSON, as raw data, and in gRPC's messages."""
