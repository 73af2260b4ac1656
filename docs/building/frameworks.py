"""`reference/models.md`: the frameworks, by their hooks."""

from generator.hooks import DEFINITIONS

from .markup import code, table

# The sections of frameworks that share one.
SECTIONS = {
    **dict.fromkeys(("xgboost", "lightgbm", "catboost"), "xgboost-lightgbm-catboost"),
    **dict.fromkeys(("function", "custom"), "functions-and-other-objects"),
    "jax": "jax-and-flax",
    "sentence_transformers": "sentence-transformers",
    "sklearn": "scikit-learn",
}


def page() -> str:
    """A line for each framework, in the order in which they are asked."""
    head = ("framework", "`framework=`", "models", "in `src/model/`")
    return table(
        head,
        (
            (
                f"[{each.label}](#{SECTIONS.get(each.name, each.name)})",
                code(each.name),
                each.models,
                ", ".join(map(code, each.files)),
            )
            for each in DEFINITIONS
        ),
    )
