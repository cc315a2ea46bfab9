"""Rules on traces of the machines that committed files were written on.

Invariant: its own patterns are written so that they do not match themselves.
"""

from __future__ import annotations

import re

from tests.architecture.source_files import SourceFile

REGISTRIES = ("py" + "pi.org", "python" + "hosted.org", "registry.npm" + "js.org", "index" + "-url", "find" + "-links")
FOLDERS = ("/ro" + "ot/", "/tmp/" + "w/", "/wo" + "rk/main", "/wo" + "rk/shared", "/op" + "t/")
HOME = re.compile(r"/(?:home|Users)" + r"/(?!airflow\b|user\b|you\b|me\b)[a-z]\w*/")
TOKEN = re.compile(r"(?:AK" + r"IA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE" + r" KEY-----|gh[pousr]_" + r"\w{30,})")
# The option that keeps the registry out of the lock files; its name is no trace of a machine.
ALLOWED = ("--no-emit-" + "index" + "-url",)


def traces(source: SourceFile) -> list[str]:
    """A file names no registry host and no folder of a developer's machine, and has no key."""
    return [
        f"{source.path}:{number} tells {found!r}"
        for number, line in enumerate(source.text.splitlines(), 1)
        for found in _traces_in(line)
    ]


def _traces_in(line: str) -> list[str]:
    for allowed in ALLOWED:
        line = line.replace(allowed, "")
    plain = [trace for trace in (*REGISTRIES, *FOLDERS) if trace in line]
    return plain + [found[0] for pattern in (HOME, TOKEN) for found in pattern.finditer(line)]
