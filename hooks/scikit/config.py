"""scikit-learn's global configuration, which changes what its models predict.

Source: `sklearn.set_config`. It holds for the thread that set it.
"""

import sys
from typing import Any

# What a session starts with. Settings of how estimators are shown are left out.
DEFAULTS: dict[str, Any] = {
    "array_api_dispatch": False,
    "assume_finite": False,
    "enable_cython_pairwise_dist": True,
    "enable_metadata_routing": False,
    "pairwise_dist_chunk_size": 256,
    "skip_parameter_validation": False,
    "sparse_interface": "spmatrix",
    "transform_output": "default",
    "working_memory": 1024,
}
KEY = "sklearn_config"  # of `model` in config.yaml


def changed() -> dict[str, Any]:
    """The settings of this session that are not the default."""
    package = sys.modules.get("sklearn")
    if package is None:
        return {}
    found = package.get_config()
    return {
        name: found[name]
        for name, default in DEFAULTS.items()
        if name in found and found[name] != default
    }


def facts() -> dict[str, Any]:
    """What `model` in `config.yaml` has of them."""
    if settings := changed():
        return {KEY: settings}
    return {}


def distributions() -> dict[str, str]:
    """What the settings need: distribution name to reason."""
    settings = changed()
    needed = {}
    if settings:
        needed["scikit-learn"] = "sklearn.set_config was called"
    if (library := settings.get("transform_output")) in ("pandas", "polars"):
        needed[library] = f"sklearn.set_config(transform_output={library!r})"
    return needed
