"""gRPC: V2's service, health for probes, and the description of both. KFServing has none."""
