"""gRPC: V2's service, health for probes, and the description of both. KServe's server has it."""
