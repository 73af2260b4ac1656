"""The generator's exceptions. Every message is one line: the name, its value and how to fix it."""


class ScaffoldError(Exception):
    """Base of every error that the generator raises on purpose."""


class ModelError(ScaffoldError):
    """The object is not a model that can be served, or it cannot be written."""


class SettingError(ScaffoldError):
    """An argument or a setting has a value that its rule forbids."""


class TargetError(ScaffoldError):
    """The scaffold cannot be written to the target directory."""


class RequirementError(ScaffoldError):
    """The environment cannot be written as requirements."""


class TemplateError(ScaffoldError):
    """The template, or the requested version of it, is not available."""


class UpdateError(ScaffoldError):
    """The scaffold cannot be updated as it is."""


class ServingError(ScaffoldError):
    """The scaffold's worker or server did not start, or answered with an error."""


class ScaffoldWarning(UserWarning):
    """What the owner should know about a scaffold that was made all the same."""
