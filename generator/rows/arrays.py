"""Arrays as `model.input` of `config.yaml` describes them."""

from typing import Any

from ..common import schema

NUMBERS = "biufc"  # kinds of dtypes
UNITS = ("64[s]", "64[ms]", "64[us]", "64[ns]")  # of datetimes and timedeltas


def described(array: Any) -> schema.ArrayInput:
    """What one row of an array is.

    Args:
        array: of shape [n, ...]: numpy's, or SciPy's sparse one.
    """
    shape = tuple(int(size) for size in array.shape[1:])
    return schema.ArrayInput(shape, dtype_name(array), sparse=_sparse(array))


def first(sample: Any) -> Any:
    """The first row of a sample. A sparse one may be too large to be made dense as a whole."""
    if hasattr(sample, "tocsr"):
        return sample.tocsr()[:1]
    return sample[:1]


def dtype_name(array: Any) -> str | None:
    """The dtype as `config.yaml` names it; None for texts, which stay Python's strings."""
    kind = array.dtype.kind
    if kind == "S" or (kind == "O" and _are_bytes(array)):
        return schema.BYTES
    if kind in NUMBERS or array.dtype.name.endswith(UNITS):
        return str(array.dtype.name)
    return None


def _are_bytes(array: Any) -> bool:
    return all(isinstance(item, bytes) for item in array.flat)


def _sparse(array: Any) -> str | None:
    """The class of a sparse array of SciPy's; CSR for one that rows are not made in."""
    if not hasattr(array, "toarray"):
        return None
    name = type(array).__name__
    if name in schema.SPARSE:
        return name
    return "csr_" + name.partition("_")[2]
