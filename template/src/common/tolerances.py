"""How far arithmetic moves a number, as a fraction of the largest one.

Another number of rows, another processor and another device add up floats in another order.
"""

from .config import Model

# Measured on an H100: 7.6e-3 for a ResNet-18 in bfloat16.
DTYPES = {"float64": 1e-9, "float": 1e-5, "float32": 1e-5, "float16": 1e-2, "bfloat16": 5e-2}
COARSE = ("float16", "bfloat16")
COMPILED = 1e-6  # what the generator accepts of ONNX Runtime
# float32, where cuDNN uses TF32. Measured on an H100: 2.6e-4 for a ResNet-50.
ON_GPU = 2e-3


def named(model: Model) -> list[str]:
    """The dtypes of floats that the forms of a model's rows and predictions name."""
    text = repr((model.input, model.output))
    return [name for name in DTYPES if f"'{name}'" in text]
