"""Extension of Griffe that prepares docstrings and signatures for the API reference; mkdocstrings loads it."""

from __future__ import annotations

from typing import Any

import griffe

from tools.docstring_markdown import to_markdown


class DocstringsToMarkdown(griffe.Extension):  # type: ignore[misc]  # Griffe is not in the environment of the type checker
    """Rewrites the docstring of every object that Griffe loads."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        """Called by Griffe for each module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)

    def on_class_members(self, *, cls: Any, **_: Any) -> None:
        """Called by Griffe for each class with its members: adds the base's arguments that ``**kwargs`` passes on."""
        init = cls.members.get("__init__")
        bases = [cls.parent.members.get(str(base)) for base in cls.bases]
        inherited = [
            base.members["__init__"] for base in bases if isinstance(base, griffe.Class) and "__init__" in base.members
        ]
        if init is not None and init.parameters and init.parameters[-1].kind is griffe.ParameterKind.var_keyword:
            _add_parameters(init.parameters, inherited)


def _add_parameters(parameters: Any, inherited: list[Any]) -> None:
    """Inserts what a base takes and the class itself does not name, before the class's ``**kwargs``."""
    rest = parameters[-1]
    del parameters[rest.name]
    for parameter in (each for init in inherited for each in init.parameters):
        if parameter.kind is griffe.ParameterKind.keyword_only and parameter.name not in parameters:
            parameters.add(parameter)
    parameters.add(rest)
