"""What V2's messages name: the datatypes and the model.

The server's environment reads this too: it has no numpy.

Source: KServe's Open Inference Protocol (V2), "Tensor Data Types".
"""

from ...errors import UnknownModel
from ...words import no_version, shown

V2_BYTES = "BYTES"  # V2's name for texts and bytes
# Triton's parameter: the last response of a stream says that it is the last.
FINAL_ASKED = "triton_enable_empty_final_response"
DATATYPES = {
    "bool": "BOOL",
    **{f"int{bits}": f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"UINT{bits}" for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"FP{bits}" for bits in (16, 32, 64)},
}


def check_model(served: str, known: str | None, name: str, version: str) -> None:
    """Check that a request is for the model that is served.

    Args:
        served: the model's name.
        known: its version, if it has one.
        name: the name in the request.
        version: the version in the request; empty for any.

    Raises:
        UnknownModel: it is for another one.
    """
    if name != served:
        raise UnknownModel(f"there is no model {shown(name)} here, the model is {served!r}")
    if version and version != known:
        raise UnknownModel(no_version(version, known))
