"""KFServing 0.6.1, KServe's predecessor: a `KFModel` in a `KFServer`.

Source: KFServing's documentation, "Custom predictors". It imports versions of Ray and table_logger
that no longer exist, but does not use them here. Stubs replace them.

python kfserving_sdk.py MODEL_FILE PORT
"""

import logging
import sys
from types import ModuleType
from typing import Any

import predictor

TITLE = "KFServing 0.6.1"
REQUIREMENTS: list[str] = []
LOCK = "template/{% if server == 'kfserving' %}server-requirements.txt{% endif %}"
PROTOCOL = "v1"

STUBS = {
    "ray": ("serve",),
    "ray.serve": (),
    "ray.serve.api": ("Deployment", "RayServeHandle"),
    "ray.serve.utils": ("ServeRequest",),
    "table_logger": ("TableLogger",),
}


def install_stubs() -> None:
    for name, attributes in STUBS.items():
        module = sys.modules[name] = ModuleType(name)
        for attribute in attributes:
            setattr(module, attribute, type(attribute, (), {}))


def serve(file: str, port: int) -> None:
    install_stubs()
    import kfserving

    class Model(kfserving.KFModel):
        """A model in a file."""

        def load(self) -> bool:
            self._predict = predictor.load(file)
            self.ready = True
            return self.ready

        def predict(self, request: dict[str, Any]) -> dict[str, Any]:
            return {"predictions": self._predict(request["instances"]).tolist()}

    logging.getLogger("tornado.access").setLevel(logging.WARNING)
    model = Model("model")
    model.load()
    kfserving.KFServer(http_port=port, workers=1).start([model])


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
