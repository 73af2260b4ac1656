"""What is known of a scaffold's model, in words: for a notebook, and for the scaffold's own pages.

A scaffold may be of any version of the template, so this reads the documents as they are written.
"""

import json
from collections.abc import Mapping
from typing import Any

from .. import layout
from .kept_sample import KeptSample


def trained_with(model: Mapping[str, Any]) -> str | None:
    """The versions that the model was trained with."""
    versions = model.get("trained_with")
    if not isinstance(versions, Mapping):
        return versions and str(versions)
    return ", ".join(_version(str(name), version) for name, version in versions.items())


def _version(name: str, version: Any) -> str:
    return f"{'Python' if name == 'python' else name} {version}"


def methods(model: Mapping[str, Any]) -> str | None:
    """The methods that answer; None where it is `predict`, or the call itself."""
    method = model.get("method")
    if method == "__call__":
        return None
    if isinstance(method, list):
        return ", ".join(map(str, method))
    return method and str(method)


def is_there(model: Mapping[str, Any]) -> bool:
    """Whether a model has been put into the scaffold."""
    return model.get("file") is not None or model.get("class") is not None


def counted(count: int, what: str) -> str:
    """`1 row`, `1,200 rows`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def proof(model: Mapping[str, Any], sample: KeptSample | None) -> str:
    """What is known of the answers. Only a sample that passed is kept."""
    if not is_there(model):
        return f"not yet: write load and predict in {layout.INFERENCE_MODEL}"
    if sample is None:
        return "no sample is kept: scaffold.verify(sample_input) compares it with the model"
    if sample.unread is not None:
        return sample.unread
    rows = counted(len(sample.rows), "row")
    return f"on {rows}, answered as expected and kept in {layout.SMOKE_TEST}"


def sharing(model: Mapping[str, Any]) -> str | None:
    """Whether rows depend on each other; None where that is not known."""
    independent = model.get("rows_independent")
    if independent is None:
        return None
    if independent:
        return "independent, as tried: requests share a call of predict"
    return "not independent: each request has its own call of predict"


def body(rows: list[Any]) -> str:
    """A request with these rows, in JSON on one line."""
    text = json.dumps({"instances": rows}, default=str, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair
