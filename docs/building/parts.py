"""The parts that pages may have, by their names."""

from collections.abc import Callable, Mapping

from . import commands, configuration, forms, frameworks, messages, metrics, questions, routes

PARTS: Mapping[str, Callable[[], str]] = {
    "commands": commands.page,
    "environment": configuration.variables,
    "forms": forms.page,
    "frameworks": frameworks.page,
    "grpc": routes.grpc,
    "messages": messages.page,
    "metrics": metrics.page,
    "model": configuration.model,
    "questions": questions.page,
    "routes": routes.page,
    "serving": configuration.serving,
    "statuses": routes.statuses,
    "truss": configuration.truss,
}
