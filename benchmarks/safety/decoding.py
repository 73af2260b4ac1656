"""Measures what a worker takes for bodies that are made to cost it much.

    python benchmarks/safety/decoding.py                         # all, of 64 MiB: five minutes
    python benchmarks/safety/decoding.py --bodies lists nested   # some
    python benchmarks/safety/decoding.py --models any --mib 16

Each body goes through the flow of a worker in a process of its own, without a server. The columns:
the processor's seconds until the answer; the longest of them in which the worker answered no
smaller request, before `preprocess` and with it; the growth of the process's memory at its peak as
a multiple of the body's size, the status, and the message. The bodies that start with `right` are
what the model takes.
"""

import argparse
import gc
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[2] / "template" / "src"
# Of common.link.frames.Kind.
JSON, MSGPACK, V2, EVENT, GRPC, SCORING, CSV = 0, 1, 6, 8, 9, 11, 12
COLUMNS = [{"name": name, "type": "number", "dtype": "float64"} for name in "abcd"]
MODELS: dict[str, dict[str, Any] | None] = {
    "array": {"kind": "array", "shape": [4], "dtype": "float64"},
    "table": {"kind": "table", "columns": COLUMNS},
    "image": {"kind": "array", "shape": [3, 8], "dtype": "float32"},
    "two": {
        "kind": "tensors",
        "inputs": [
            {"name": "a", "shape": [4], "dtype": "float32"},
            {"name": "b", "shape": [], "dtype": "float32"},
        ],
    },
    "text": {"kind": "text"},
    "any": {"kind": "json"},
}
HEAD, TAIL = b'{"instances":[', b"]}"
Make = Callable[[int], bytes]


def repeated(part: bytes, head: bytes = HEAD, tail: bytes = TAIL) -> Make:
    """JSON that repeats a part."""
    return lambda size: head + b",".join([part] * (size // (len(part) + 1))) + tail


def packed(row: bytes, first: bytes = b"", firsts: int = 0) -> Make:
    """msgpack whose rows repeat one, after some others."""

    def make(size: int) -> bytes:
        count = size // len(row)
        return b"\x81\xa9instances\xdd" + struct.pack(">I", firsts + count) + first + row * count

    return make


def array_of(item: bytes, head: bytes, tail: bytes = b"") -> Make:
    """msgpack with one array of a repeated item."""
    return lambda size: head + b"\xdd" + struct.pack(">I", size) + item * size + tail


def v2(part: bytes, shape: bytes, datatype: bytes, tail: bytes = b"") -> Make:
    """V2 in JSON with one tensor, whose data repeats a part.

    Args:
        part: the part.
        shape: may hold %d, how often the part is repeated.
        datatype: V2's name.
        tail: further keys of the tensor.
    """

    def make(size: int) -> bytes:
        shaped = shape.replace(b"%d", str(size // (len(part) + 1)).encode())
        head = b'{"inputs":[{"name":"x","shape":%s,"datatype":"%s","data":[' % (shaped, datatype)
        return bytes(4) + repeated(part, head, b"]%s}]}" % tail)(size)

    return make


def v2_after(size: int) -> bytes:
    """V2 in JSON whose tensor has its shape and datatype after its data."""
    tail = b'],"datatype":"FP64","shape":[1,4]}]}'
    return bytes(4) + repeated(b"[1]", b'{"inputs":[{"name":"x","data":[', tail)(size)


def v2_half(size: int) -> bytes:
    """V2 in JSON whose data is right in its first half, then empty lists with a space."""
    rows, lists = size // 2 // 18, size // 2 // 4
    count = 4 * ((4 * rows + lists) // 4)
    head = b'{"inputs":[{"name":"x","shape":[%d,4],"datatype":"FP64","data":[' % (count // 4)
    right = repeated(b"[5.1,3.5,1.4,0.2]", head, b",")(size // 2)
    return bytes(4) + repeated(b"[ ]", right, b"]}]}")(size // 2)


def raw(element: bytes, datatype: str, row: str = "") -> Make:
    """V2 with one raw tensor of a repeated element."""

    def make(size: int) -> bytes:
        count = size // len(element)
        shape = f"[{count}]"
        if row:
            shape = f"[{count // int(row)},{row}]"
        data = f'"datatype":"{datatype}","parameters":{{"binary_data_size":{count * len(element)}}}'
        head = f'{{"inputs":[{{"name":"x","shape":{shape},{data}}}]}}'.encode()
        return struct.pack("!I", len(head)) + head + element * count

    return make


def grpc(element: bytes, datatype: bytes, content: int = 0, row: int = 0) -> Make:
    """A gRPC message with one tensor of a repeated element; raw if there is no field for it.

    Args:
        element: the element, with its tag where each has one.
        datatype: V2's name.
        content: the field of InferTensorContents, if all elements are packed in one; -1 if each
            has a tag.
        row: how many elements a row has; 0 for rows that are no lists.
    """

    def make(size: int) -> bytes:
        from common.bodies.v2.protobuf import field, varint

        count = size // len(element)
        sizes = [count // row, row] if row else [count]
        data = element * count
        tensor = field(1, b"x") + field(2, datatype) + field(3, b"".join(map(varint, sizes)))
        if content:
            tensor += field(5, data if content < 0 else field(content, data))
        message = field(1, b"model") + field(5, tensor)
        if not content:
            message += field(7, data)
        return message

    return make


def half(size: int) -> bytes:
    return repeated(b"[]", repeated(b"[5.1,3.5,1.4,0.2]", tail=b",")(size // 2))(size // 2)


def keys(head: bytes, tail: bytes) -> Make:
    """JSON of an object with many keys."""
    return lambda size: head + b",".join(b'"%d":0' % key for key in range(size // 12)) + tail


def v2_beside(head: bytes, tail: bytes) -> Make:
    """V2 in JSON with much before its one tensor."""
    tensor = b'"inputs":[{"name":"x","shape":[1,4],"datatype":"FP64","data":[1,2,3,4]}]}'
    return lambda size: bytes(4) + repeated(b"[1]", b"{" + head, tail + tensor)(size)


def v2_parameters(size: int) -> bytes:
    """V2 in JSON with much in the parameters of its one tensor."""
    head = b'{"inputs":[{"parameters":{"a":['
    tail = b']},"name":"x","shape":[1,4],"datatype":"FP64","data":[1,2,3,4]}]}'
    return bytes(4) + repeated(b"[1]", head, tail)(size)


def columns(value: bytes) -> Make:
    """MLflow's object of columns that repeat a value."""

    def make(size: int) -> bytes:
        values = b",".join([value] * (size // (4 * (len(value) + 1))))
        return b'{"inputs":{%b}}' % b",".join(b'"%c":[%b]' % (name, values) for name in b"abcd")

    return make


SPLIT = b'{"dataframe_split":{"columns":["a","b","c","d"],"data":['
LATE = b'{"a":"' + b"x" * 100_000 + b'","instances":['
EVENT_HEAD = (
    b'{"id":"1","source":"a","specversion":"1.0","type":"t","time":"2026-01-01T00:00:00Z",'
    b'"data":{"instances":['
)
ROW = b"\x94" + (b"\xcb" + struct.pack(">d", 5.1)) * 4
BODIES: dict[str, tuple[int, Make]] = {
    "right rows": (JSON, repeated(b"[5.1,3.5,1.4,0.2]")),
    "right objects": (JSON, repeated(b'{"a":1.5,"b":1.5,"c":1.5,"d":1.5}')),
    "right msgpack": (MSGPACK, packed(ROW)),
    "lists": (JSON, repeated(b"[]")),
    "objects": (JSON, repeated(b"{}")),
    "short rows": (JSON, repeated(b"[1]")),
    "after half of right rows": (JSON, half),
    "a wrong last row": (JSON, repeated(b"[5.1,3.5,1.4,0.2]", tail=b',[1,2,3,"x"]]}')),
    "one row of lists": (JSON, repeated(b"[]", HEAD + b"[", b"]" + TAIL)),
    "one row of numbers": (JSON, repeated(b"1.5", HEAD + b"[", b"]" + TAIL)),
    "one object of keys": (JSON, repeated(b'"k":[]', HEAD + b"{", b"}" + TAIL)),
    "another key": (JSON, repeated(b"[]", b'{"other":[', b'],"instances":[[1,2,3,4]]}')),
    "nested": (JSON, lambda size: HEAD + b"[" * (size // 2) + b"]" * (size // 2) + TAIL),
    "nested rows": (JSON, repeated(b"[" * 1000 + b"]" * 1000)),
    "long number": (JSON, lambda size: HEAD + b"1" * size + TAIL),
    "long numbers": (JSON, repeated(b"1" * 300)),
    "escapes": (JSON, lambda size: HEAD + b'"' + rb"\n" * (size // 2) + b'"' + TAIL),
    "texts": (JSON, repeated(b'"ab"')),
    "nulls": (JSON, repeated(b"[true,false,true,null]")),
    "msgpack maps": (MSGPACK, packed(b"\x80")),
    "msgpack lists": (MSGPACK, packed(b"\x90", ROW, 1)),
    "msgpack row of lists": (MSGPACK, array_of(b"\x90", b"\x81\xa9instances\x91")),
    "msgpack other key": (MSGPACK, array_of(b"\x90", b"\x82\xa1a", b"\xa9instances\x90")),
    "msgpack one key": (MSGPACK, packed(b"\x81\xa0\xc0")),
    "msgpack arrays": (MSGPACK, packed(b"\x83\xc4\x02nd\xc2\xc4\x04type\xa2?1\xc4\x04data\xc0")),
    "right V2": (V2, v2(b"5.1,3.5,1.4,0.2", b"[%d,4]", b"FP64")),
    "right V2 rows": (V2, v2(b"[5.1,3.5,1.4,0.2]", b"[%d,4]", b"FP64")),
    "right V2 raw": (V2, raw(struct.pack("<d", 5.1), "FP64", "4")),
    "right V2 texts": (V2, v2(b'"ab"', b"[%d]", b"BYTES")),
    "right V2 raw texts": (V2, raw(struct.pack("<I", 2) + b"ab", "BYTES")),
    "V2 lists": (V2, v2(b"[]", b"[1,4]", b"FP64")),
    "V2 spaced lists": (V2, v2(b"[ ]", b"[%d]", b"FP64")),
    "V2 short lists": (V2, v2(b"[1]", b"[1,4]", b"FP64")),
    "V2 short rows": (V2, v2(b"[1]", b"[%d,1]", b"FP64")),
    "V2 shape at the end": (V2, v2_after),
    "V2 after half of right rows": (V2, v2_half),
    "V2 texts": (V2, v2(b'""', b"[1,4]", b"BYTES")),
    "V2 many texts": (V2, v2(b'""', b"[%d]", b"BYTES")),
    "V2 raw texts": (V2, raw(bytes(4), "BYTES")),
    "V2 raw row of texts": (V2, lambda size: raw(bytes(4), "BYTES", str(size // 4))(size)),
    "V2 raw bools": (V2, raw(b"\1", "BOOL")),
    "gRPC raw texts": (GRPC, grpc(bytes(4), b"BYTES")),
    "gRPC texts": (GRPC, grpc(b"\x42\0", b"BYTES", -1)),
    "gRPC integers": (GRPC, grpc(b"\1", b"INT64", 3)),
    "gRPC tagged integers": (GRPC, grpc(b"\x18\1", b"INT64", -1)),
    "gRPC wrong field": (GRPC, grpc(b"\1", b"FP64", 2, 4)),
    "event of lists": (EVENT, repeated(b"[1]", EVENT_HEAD, b"]}}")),
    "another key of lists": (JSON, repeated(b"[1]", b'{"other":[', b'],"instances":[[1,2]]}')),
    "a later key of lists": (JSON, repeated(b"[1]", b'{"instances":[[1,2,3,4]],"other":[', b"]}")),
    "parameters of lists": (JSON, repeated(b"[1]", b'{"parameters":{"a":[', b']},"instances":[]}')),
    "parameters of keys": (JSON, keys(b'{"instances":[[1,2,3,4]],"parameters":{', b"}}")),
    "a signature of lists": (JSON, repeated(b"[1]", b'{"signature_name":[', b'],"instances":[]}')),
    "second rows": (JSON, repeated(b"[1]", b'{"instances":[[1,2,3,4]],"instances":[', b"]}")),
    "rows after a long text": (JSON, repeated(b"[1]", LATE, b"]}")),
    "one row of short lists": (JSON, repeated(b"[1]", HEAD + b"[", b"]" + TAIL)),
    "no end": (JSON, repeated(b"[5.1,3.5,1.4,0.2]", tail=b"]")),
    "msgpack other key of lists": (
        MSGPACK,
        array_of(b"\x91\1", b"\x82\xa1a", b"\xa9instances\x90"),
    ),
    "msgpack one row": (MSGPACK, array_of(b"\x91\1", b"\x81\xa9instances\x91")),
    "V2 parameters": (V2, v2_beside(b'"parameters":{"a":[', b"]},")),
    "V2 another key": (V2, v2_beside(b'"a":[', b"],")),
    "V2 outputs": (V2, v2_beside(b'"outputs":[', b"],")),
    "V2 tensor's parameters": (V2, v2_parameters),
    "event of attributes": (EVENT, repeated(b"[1]", b'{"a":[', b"]," + EVENT_HEAD[1:] + b"]}}")),
    "right table": (SCORING, repeated(b"[5.1,3.5,1.4,0.2]", SPLIT, b"]}}")),
    "right columns": (SCORING, columns(b"5.1")),
    "right records": (SCORING, repeated(b'{"a":1,"b":1,"c":1,"d":1}', b'{"inputs":[', b"]}")),
    "columns of lists": (SCORING, columns(b"[1]")),
    "table of short rows": (SCORING, repeated(b"[1]", SPLIT, b"]}}")),
    "table without names": (SCORING, repeated(b"[1]", b'{"dataframe_split":{"data":[', b"]}}")),
    "table of texts": (SCORING, repeated(b'["","","",""]', SPLIT, b"]}}")),
    "table of names": (
        SCORING,
        repeated(b"[1]", b'{"dataframe_split":{"data":[],"columns":[', b"]}}"),
    ),
    "table's index": (SCORING, repeated(b"[1]", SPLIT + b'[1,2,3,4]],"index":[', b"]}}")),
    "scoring another key": (SCORING, repeated(b"[1]", b'{"inputs":[[1,2,3,4]],"a":[', b"]}")),
    "right CSV": (CSV, lambda size: b"\0a,b,c,d\n" + b"5.1,3.5,1.4,0.2\n" * (size // 16)),
    "CSV of one line": (CSV, lambda size: b"\0a,b,c,d\n" + b"," * size),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bodies", nargs="+", default=list(BODIES), choices=BODIES)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.bodies[0], options.models[0], options.mib << 20)
        return
    print(f"{'body':26}{'model':8}{'seconds':>8}{'longest':>8}{'memory':>9}  answer")
    for body in options.bodies:
        for model in options.models:
            command = [sys.executable, __file__, "--one", "--mib", str(options.mib)]
            command += ["--bodies", body, "--models", model]
            done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(SOURCE)})
            if done.returncode:
                print(f"{body:26}{model:8} ended with {done.returncode}")


def measure(body: str, model: str, size: int) -> None:
    """Print what a body takes."""
    from common.link.frames import Request

    kind, make = BODIES[body]
    content = make(size)
    flow = flow_of(MODELS[model])
    gc.collect()
    gc.freeze()  # as a worker does
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    start = time.process_time()
    outcome, longest = opened(flow, Request(1, kind, "id", content))
    [(responses, _), *_] = list(flow.answer([outcome]))
    took, grown = time.process_time() - start, memory("VmHWM") - before
    said = bytes(responses[0].body[:80]).decode("ascii", "replace")
    row = f"{body:26}{model:8}{took:8.2f}{longest:8.2f}{grown / len(content):8.1f}x"
    print(f"{row}  {responses[0].status} {said}", flush=True)


def opened(flow: Any, request: Any) -> tuple[Any, float]:
    """A request that is opened as a worker opens it, and the longest time without a pause."""
    if not flow.is_large(request):
        start = time.process_time()
        return flow.open(request), time.process_time() - start
    longest, start = 0.0, time.process_time()
    for outcome in flow.open_in_pieces(request):
        longest, start = max(longest, time.process_time() - start), time.process_time()
        if outcome is not None:
            return outcome, longest
    raise AssertionError("no outcome")


def memory(field: str) -> int:
    """A figure of this process's memory, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(field))


def flow_of(described: dict[str, Any] | None) -> Any:
    """A worker's flow with a model that takes rows as described, and predicts zeros."""
    import numpy as np

    from common.bodies.v2.grpc_codec import ModelInfer
    from common.bodies.v2.v2_codec import V2 as V2Bodies
    from common.schema import read_input
    from common.signature import Signature
    from common.worker.first_rows import FirstRows
    from common.worker.flow import Flow
    from common.worker.sharing import Sharing

    form = read_input(described)

    class Zeros:
        signature = Signature(form)

        def load(self) -> None: ...

        def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
            return request

        def predict(self, request: dict[str, Any]) -> dict[str, Any]:
            self.signature.inputs(request["instances"])
            return {"predictions": np.zeros(len(request["instances"]))}

        def postprocess(self, response: dict[str, Any]) -> dict[str, Any]:
            return response

    model = Zeros()
    sharing = Sharing(256, Zeros.signature.likeness, True, first=0)
    bodies, messages = V2Bodies("model", form), ModelInfer("model", form)
    first = FirstRows(model, form, messages)
    return Flow(model, sharing, bodies, grpc=messages, first_rows=first, described=form)


if __name__ == "__main__":
    main()
