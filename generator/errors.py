"""What the generator raises. Every message is one line: the name, its value and how to fix it."""


class ScaffoldError(Exception):
    """Base of every error that the generator raises on purpose."""


class ModelError(ScaffoldError):
    """The object is no model that can be served, or it cannot be written."""


class SettingError(ScaffoldError):
    """An argument or a setting has a value that its rule forbids."""


class TargetError(ScaffoldError):
    """The target directory cannot take the scaffold."""


class RequirementError(ScaffoldError):
    """The environment cannot be written as requirements."""


class TemplateError(ScaffoldError):
    """The template, or a version of it, cannot be had."""


class UpdateError(ScaffoldError):
    """The scaffold cannot be updated as it is."""


class ServingError(ScaffoldError):
    """The scaffold's worker or server did not start, or answered with an error."""
