"""KFServing 0.6.1, what KServe was: a `KFModel` in a `KFServer`, as its page on custom predictors shows.

It imports versions of Ray and of another package that are no longer, and uses neither here: stand-ins do.

python kfserving_sdk.py MODEL_FILE PORT
"""

import sys
from types import ModuleType
from typing import Any

import predictor

TITLE = "KFServing 0.6.1"
REQUIREMENTS: list[str] = []
LOCK = "template/{% if server == 'kfserving' %}server-requirements.txt{% endif %}"
PROTOCOL = "v1"

STAND_INS = {
    "ray": ("serve",),
    "ray.serve": (),
    "ray.serve.api": ("Deployment", "RayServeHandle"),
    "ray.serve.utils": ("ServeRequest",),
    "table_logger": ("TableLogger",),
}


def stand_in() -> None:
    for name, attributes in STAND_INS.items():
        module = sys.modules[name] = ModuleType(name)
        for attribute in attributes:
            setattr(module, attribute, type(attribute, (), {}))


def serve(file: str, port: int) -> None:
    stand_in()
    import kfserving

    class Model(kfserving.KFModel):
        """A model in a file."""

        def load(self) -> bool:
            self._predict = predictor.load(file)
            self.ready = True
            return self.ready

        def predict(self, request: dict[str, Any]) -> dict[str, Any]:
            return {"predictions": self._predict(request["instances"]).tolist()}

    model = Model("model")
    model.load()
    kfserving.KFServer(http_port=port, workers=1).start([model])


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
