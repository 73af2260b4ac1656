"""What a scaffold stands on, on top of KServe. The template's: `copier update` replaces it.

The server's environment imports `run` and what it needs; the model's environment imports `worker` and what it needs.
"""

from .config import Config
from .errors import InvalidInput
from .model_file import model_path
from .outputs import Predictor, plain
from .signature import Signature
from .threads import Threads

__all__ = ["Config", "InvalidInput", "Predictor", "Signature", "Threads", "model_path", "plain"]
