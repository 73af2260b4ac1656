"""Stands for the generator in a scaffold: code of the model imports it, serving does not use it.

Every name that is imported from here is a class that cannot be called.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)

    def refuse(*_arguments: object, **_settings: object) -> None:
        raise RuntimeError(
            f"{name} of the generator was called where the model is served: a scaffold does not"
            " hold the generator, keep this call out of the model's code"
        )

    return type(name, (), {"__new__": refuse, "__module__": __name__})
