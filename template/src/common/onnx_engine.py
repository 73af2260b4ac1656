"""A scikit-learn model that was compiled for ONNX Runtime, into `src/model/model.onnx`."""

from typing import Any

import numpy as np

from .config import Config
from .errors import LoadError
from .model_file import onnx_path
from .rows.arrays import Array
from .schema import EstimatorOutput, ModelOutput

DTYPES = {"tensor(double)": "float64", "tensor(float)": "float32", "tensor(string)": "object"}


class OnnxModel:
    """Predicts as the model that it was compiled from.

    Rows for which that was not verified go to the model itself: those with null, NaN or infinity,
    numbers beyond float32, another dtype, an unknown category, or a text that is not ASCII.

    Args:
        content: an ONNX model. Its outputs are the predictions and, if it is a classifier, the
            probabilities.
        original: the model itself.
        output: what a prediction is, `model.output` of a Config.

    Raises:
        LoadError: an input of the ONNX model is not float64, float32 or texts.
    """

    def __init__(self, content: bytes, original: Any, output: ModelOutput | None) -> None:
        self._original = original
        self._output = _known(output)
        self._session = _session(content)
        self._inputs = [(item.name, _dtype(item)) for item in self._session.get_inputs()]
        self._names = [item.name for item in self._session.get_outputs()]
        if self._output.probabilities:
            self.predict_proba = self._predict_proba

    @classmethod
    def load(cls, config: Config, original: Any) -> "OnnxModel":
        """The compiled form in `src/model/`.

        Raises:
            LoadError: the file is missing, or not the one that `config.yaml` records.
        """
        return cls(onnx_path(config).read_bytes(), original, config.model.output)

    def takes(self, inputs: Any) -> bool:
        """Whether the compiled form predicts for these rows."""
        return self._feed(inputs) is not None

    def predict(self, inputs: Any) -> Any:
        """One prediction a row, in the dtype and shape that the model itself returns."""
        predictions = self._run(0, inputs)
        if predictions is None:
            return self._original.predict(inputs)
        if self._output.shape is not None:
            predictions = predictions.reshape(len(predictions), *self._output.shape)
        if self._output.dtype is None:
            return predictions
        return predictions.astype(self._output.dtype, copy=False)

    def _predict_proba(self, inputs: Any) -> Any:
        """The probability of each class, of shape [n, classes]."""
        probabilities = self._run(1, inputs)
        if probabilities is None:
            return self._original.predict_proba(inputs)
        return probabilities

    def _run(self, output: int, inputs: Any) -> Any:
        """An output of the session; None if the rows go to the model itself."""
        feed = self._feed(inputs)
        if feed is None:
            return None
        try:
            return self._session.run([self._names[output]], feed)[0]
        except Exception:  # such as an unknown category: the model itself says what is wrong
            return None

    def _feed(self, inputs: Any) -> dict[str, Array] | None:
        """The rows by names of the session's inputs; None if they go to the model itself."""
        feed = {}
        for (name, dtype), part in zip(self._inputs, self._parts(inputs), strict=True):
            if not _is_plain(part, dtype):
                return None
            feed[name] = part.astype(dtype, copy=False)
        return feed

    def _parts(self, inputs: Any) -> list[Array]:
        """An array of shape [n, columns] for each of the session's inputs."""
        if len(self._inputs) > 1:
            return [inputs[name].to_numpy()[:, np.newaxis] for name in inputs.columns]
        if isinstance(inputs, list):
            texts = [text if text.isascii() else None for text in inputs]
            return [np.array(texts, dtype=object)[:, np.newaxis]]
        if isinstance(inputs, np.ndarray):
            return [inputs]
        return [inputs.to_numpy()]


def _known(output: ModelOutput | None) -> EstimatorOutput:
    if isinstance(output, EstimatorOutput):
        return output
    return EstimatorOutput()


def _session(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # with more, the sum of trees depends on their number
    options.log_severity_level = 4  # errors are raised too: no need to log them
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _dtype(item: Any) -> "np.dtype[Any]":
    if item.type not in DTYPES:
        known = ", ".join(DTYPES)
        raise LoadError(
            f"src/model/model.onnx takes {item.name!r} as {item.type}, only {known} can be given"
        )
    return np.dtype(DTYPES[item.type])


def _is_plain(part: Array, dtype: "np.dtype[Any]") -> bool:
    """Whether an array holds only texts, integers, or finite numbers within float32's range."""
    if dtype.kind == "O":
        return all(isinstance(item, str) for item in part.flat)
    if part.dtype.kind not in "biu" and part.dtype != dtype:
        return False
    with np.errstate(over="ignore"):
        return bool(np.isfinite(part.astype(np.float32)).all())
