"""`reference/questions.md`: what `copier copy` asks."""

from typing import Any

from .markup import blocks, code, heading, table
from .settings_file import answers

# What an expression of copier.yml comes to.
COMPUTED = {
    "deployment_name": "the name of the directory where `model_name` is `model`, else `model_name`",
    "image": "`deployment_name` in lower case",
    "platforms": "`[kubernetes, kserve, compose]`",
    "requirements": "the packages of the framework, without versions",
}
WHEN = {
    "engine": "for scikit-learn",
    "gpu": "for every framework but scikit-learn, LightGBM and statsmodels",
}


def asked() -> dict[str, dict[str, Any]]:
    """The questions that are asked; the others are derived from these."""
    return {
        name: question
        for name, question in answers().items()
        if not name.startswith("_") and question.get("when") is not False
    }


def page() -> str:
    """The questions, in the order in which they are asked."""
    return blocks(_question(name, question) for name, question in asked().items())


def _question(name: str, question: dict[str, Any]) -> str:
    lines = [f"- Type: {_type(question)}.", f"- Default: {_default(name, question)}."]
    if "when" in question:
        lines.append(f"- Asked: {WHEN[name]}.")
    return blocks(
        [heading(name, name), f"{question['help']}.", "\n".join(lines), _choices(question)]
    )


def _type(question: dict[str, Any]) -> str:
    kind = {"str": "a text", "bool": "yes or no"}[question["type"]]
    if question.get("multiselect"):
        return "any of the choices"
    if question.get("choices"):
        return "one of the choices"
    return f"{kind} of several lines" if question.get("multiline") else kind


def _default(name: str, question: dict[str, Any]) -> str:
    default = question["default"]
    if isinstance(default, str) and "{" in default:
        return COMPUTED[name]
    if isinstance(default, bool):
        return code("true" if default else "false")
    return code(default)


def _choices(question: dict[str, Any]) -> str:
    choices = question.get("choices")
    if not choices:
        return ""
    if isinstance(choices, list):
        return f"Choices: {', '.join(map(code, choices))}."
    return table(("value", "choice"), [(code(value), label) for label, value in choices.items()])
