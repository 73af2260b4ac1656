"""The messages of V2's GRPCInferenceService, and their description.

Sources: KServe's Open Inference Protocol (V2), grpc_predict_v2.proto. ModelStreamInfer is Triton's,
grpc_service.proto.
"""

from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

PACKAGE = "inference"
SERVICE = "GRPCInferenceService"
METHODS = (
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelInfer",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
)
STREAM = "ModelStreamInfer"  # of ModelInfer's requests
# The fields of each message, in the order of their numbers, which start at 1. A message that is
# part of another one follows it. `repeated`, `map` and `oneof` are as in a .proto file.
MESSAGES = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("bool live",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("bool ready",),
    "ModelReadyRequest": ("string name", "string version"),
    "ModelReadyResponse": ("bool ready",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": ("string name", "string version", "repeated string extensions"),
    "ModelMetadataRequest": ("string name", "string version"),
    "ModelMetadataResponse": (
        "string name",
        "repeated string versions",
        "string platform",
        "repeated ModelMetadataResponse.TensorMetadata inputs",
        "repeated ModelMetadataResponse.TensorMetadata outputs",
    ),
    "ModelMetadataResponse.TensorMetadata": (
        "string name",
        "string datatype",
        "repeated int64 shape",
    ),
    "ModelInferRequest": (
        "string model_name",
        "string model_version",
        "string id",
        "map InferParameter parameters",
        "repeated ModelInferRequest.InferInputTensor inputs",
        "repeated ModelInferRequest.InferRequestedOutputTensor outputs",
        "repeated bytes raw_input_contents",
    ),
    "ModelInferRequest.InferInputTensor": (
        "string name",
        "string datatype",
        "repeated int64 shape",
        "map InferParameter parameters",
        "InferTensorContents contents",
    ),
    "ModelInferRequest.InferRequestedOutputTensor": (
        "string name",
        "map InferParameter parameters",
    ),
    "ModelInferResponse": (
        "string model_name",
        "string model_version",
        "string id",
        "map InferParameter parameters",
        "repeated ModelInferResponse.InferOutputTensor outputs",
        "repeated bytes raw_output_contents",
    ),
    "ModelInferResponse.InferOutputTensor": (
        "string name",
        "string datatype",
        "repeated int64 shape",
        "map InferParameter parameters",
        "InferTensorContents contents",
    ),
    "InferParameter": (
        "oneof bool bool_param",
        "oneof int64 int64_param",
        "oneof string string_param",
    ),
    "InferTensorContents": (
        "repeated bool bool_contents",
        "repeated int32 int_contents",
        "repeated int64 int64_contents",
        "repeated uint32 uint_contents",
        "repeated uint64 uint64_contents",
        "repeated float fp32_contents",
        "repeated double fp64_contents",
        "repeated bytes bytes_contents",
    ),
    "RepositoryModelLoadRequest": ("string model_name",),
    "RepositoryModelLoadResponse": ("string model_name", "bool isLoaded"),
    "RepositoryModelUnloadRequest": ("string model_name",),
    "RepositoryModelUnloadResponse": ("string model_name", "bool isUnloaded"),
    "ModelStreamInferResponse": ("string error_message", "ModelInferResponse infer_response"),
}
CHOICE = "parameter_choice"  # the oneof of InferParameter
ENTRY = "ParametersEntry"  # what protoc makes of a map: a message of a key and a value


def description() -> FileDescriptorProto:
    """The description of the service, as protoc makes it of the protocol's file."""
    file = FileDescriptorProto(name="grpc_predict_v2.proto", package=PACKAGE, syntax="proto3")
    made: dict[str, DescriptorProto] = {}
    for full_name in MESSAGES:
        outer, _, name = full_name.rpartition(".")
        siblings = made[outer].nested_type if outer else file.message_type
        made[full_name] = siblings.add(name=name)
    for full_name, fields in MESSAGES.items():
        for number, field in enumerate(fields, 1):
            _add_field(made[full_name], full_name, number, *field.rsplit(" ", 2))
    service = file.service.add(name=SERVICE)
    for method in METHODS:
        asked, answered = (f".{PACKAGE}.{method}{part}" for part in ("Request", "Response"))
        service.method.add(name=method, input_type=asked, output_type=answered)
    service.method.add(
        name=STREAM,
        input_type=f".{PACKAGE}.ModelInferRequest",
        output_type=f".{PACKAGE}.{STREAM}Response",
        client_streaming=True,
        server_streaming=True,
    )
    return file


def _add_field(message: DescriptorProto, full_name: str, number: int, *words: str) -> None:
    """Add a field: its label, if it has one, its type and its name."""
    *labels, kind, name = words
    field = message.field.add(name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
    if "map" in labels:
        entry = message.nested_type.add(name=ENTRY)
        entry.options.map_entry = True
        _add_field(entry, full_name, 1, "string", "key")
        _add_field(entry, full_name, 2, kind, "value")
        kind, labels = f"{full_name}.{ENTRY}", ["repeated"]
    if "repeated" in labels:
        field.label = FieldDescriptorProto.LABEL_REPEATED
    if "oneof" in labels:
        if not message.oneof_decl:
            message.oneof_decl.add(name=CHOICE)
        field.oneof_index = 0
    if kind[0].isupper():
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    else:
        field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")


def _classes() -> dict[str, Any]:
    """The classes of the messages that are no part of another one.

    They are described in a pool of their own: the process may hold KServe's, too.
    """
    pool = DescriptorPool()
    pool.Add(description())
    names = (name for name in MESSAGES if "." not in name)
    return {
        name: GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in names
    }


CLASSES = _classes()
