"""Asks a gRPC server with the stubs of KServe, grpcio-health-checking and grpcio-reflection.

The argument is the port. Prints what was answered, in JSON. Needs KServe's server environment.
"""

import json
import sys
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.json_format import MessageToDict
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2, grpc_predict_v2_pb2_grpc

SERVICES = ("", "model", "inference.GRPCInferenceService", "another")
REFLECTED = ("inference.GRPCInferenceService", "grpc.health.v1.Health", "google.protobuf.Any")
TRITONS = "ModelStreamInferResponse"  # which KServe's description has not
METHODS = {
    "ServerLive": {},
    "ServerReady": {},
    "ServerMetadata": {},
    "ModelReady": {"name": "model"},
    "ModelMetadata": {"name": "model"},
    "RepositoryModelLoad": {"model_name": "model"},
    "RepositoryModelUnload": {"model_name": "model"},
}


def answered(method: Any, request: Any) -> Any:
    """The response as a dict, or the name of the error's code and its details."""
    try:
        return MessageToDict(
            method(request, timeout=60),
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
    except grpc.RpcError as error:
        return [error.code().name, error.details()]


def inference(channel: Any) -> dict[str, Any]:
    stub = grpc_predict_v2_pb2_grpc.GRPCInferenceServiceStub(channel)
    return {
        name: answered(getattr(stub, name), getattr(grpc_predict_v2_pb2, f"{name}Request")(**given))
        for name, given in METHODS.items()
    }


def health(channel: Any) -> dict[str, Any]:
    stub = health_pb2_grpc.HealthStub(channel)
    return {
        name: answered(stub.Check, health_pb2.HealthCheckRequest(service=name)) for name in SERVICES
    }


def reflection(channel: Any) -> dict[str, Any]:
    """The names of the services, and the methods in the file of each symbol."""
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    requests = [reflection_pb2.ServerReflectionRequest(list_services="")]
    requests += [
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in REFLECTED
    ]
    listed, *files = stub.ServerReflectionInfo(iter(requests), timeout=60)
    found: dict[str, Any] = {
        "services": [service.name for service in listed.list_services_response.service]
    }
    for name, file in zip(REFLECTED, files, strict=True):
        found[name] = [
            method.name for each in described(file) for one in each.service for method in one.method
        ]
    kserves = FileDescriptorProto()
    grpc_predict_v2_pb2.DESCRIPTOR.CopyToProto(kserves)
    found["as KServe's"] = [
        [message for message in each.message_type if message.name != TRITONS]
        == list(kserves.message_type)
        for each in described(files[0])
    ]
    return found


def described(answer: Any) -> list[Any]:
    files = answer.file_descriptor_response.file_descriptor_proto
    return [FileDescriptorProto.FromString(data) for data in files]


if __name__ == "__main__":
    with grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}") as channel:
        answers = {
            "inference": inference(channel),
            "health": health(channel),
            "reflection": reflection(channel),
        }
    json.dump(answers, sys.stdout)
