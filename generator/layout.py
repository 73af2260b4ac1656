"""Every path inside a scaffold, from its directory."""

SOURCE = "src"
COMMON = "src/common"
MODEL = "src/model"
DATA = "src/data"
INFERENCE_SERVER = "src/inference_server.py"
INFERENCE_MODEL = "src/server/inference_model.py"
ONNX_FILE = "model.onnx"
"""The compiled model's name in `src/model/`."""

CONFIG = "config.yaml"
README = "README.md"
MODEL_CARD = "model-card.md"
REQUIREMENTS = "requirements.txt"
LOCK = "requirements.lock"
WHEELS = "wheels"
WHEELS_REQUIREMENTS = "wheels/requirements.txt"
"""A link to `requirements.txt`, which truss shows to a build command only in a folder."""
SERVER_REQUIREMENTS = "server-requirements.txt"
SMOKE_TEST = "smoke-test.json"
ANSWERS = ".copier-answers.yml"
DOCKERFILES = "*-server.Dockerfile"
"""A pattern: the file's name begins with the framework."""
MANIFESTS = "deploy/*.yaml"
KUSTOMIZATION = "deploy/kustomization.yaml"


def dockerfile(framework: str) -> str:
    """The Dockerfile of a scaffold for a framework."""
    return DOCKERFILES.replace("*", framework)
