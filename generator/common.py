"""The generator's only access to the template's `common` package.

The generator contains the template's copy of it and imports that like any module. Every folder,
and every hook, imports from here what it needs. A scaffold has a copy of its own, of any version:
`running/runtime.py` loads it.
"""

from typing import TYPE_CHECKING

from .template.src.common import documents, schema
from .template.src.common.bodies import (
    DecodeError,
    json_encode,
    msgpack_decode,
    msgpack_encode,
)
from .template.src.common.config import MOST_DIGITS, PORT_VARIABLES, VERSION, VERSION_RULE
from .template.src.common.config import Model as ModelFacts
from .template.src.common.context import FIELD_NAME, FIELD_VALUE
from .template.src.common.errors import ConfigError
from .template.src.common.link import gpus, guardian
from .template.src.common.link.lifeline import Lifeline
from .template.src.common.methods import Methods, method_names
from .template.src.common.model_file import digest
from .template.src.common.onnx_engine import OnnxModel
from .template.src.common.outputs import Predictor, left_out, plain
from .template.src.common.pipelines import predictions as pipeline_predictions
from .template.src.common.rows.columns.formats import example as column_example
from .template.src.common.signature import Signature
from .template.src.common.tolerances import ON_GPU
from .template.src.common.words import kind_of, listing, shown, written

if TYPE_CHECKING:
    from .template.src.common.config import Config as Config
    from .template.src.common.link.client import Client as Client

__all__ = [
    "FIELD_NAME",
    "FIELD_VALUE",
    "MOST_DIGITS",
    "ON_GPU",
    "PORT_VARIABLES",
    "VERSION",
    "VERSION_RULE",
    "ConfigError",
    "DecodeError",
    "Lifeline",
    "Methods",
    "ModelFacts",
    "OnnxModel",
    "Predictor",
    "Signature",
    "column_example",
    "digest",
    "gpus",
    "documents",
    "guardian",
    "json_encode",
    "kind_of",
    "left_out",
    "listing",
    "method_names",
    "msgpack_decode",
    "msgpack_encode",
    "pipeline_predictions",
    "plain",
    "schema",
    "shown",
    "written",
]
