"""Every public name is in the API reference, with a docstring that describes its arguments."""

from __future__ import annotations

import ast

import pytest

from tests.docs.blocks import documents
from tests.docs.public_names import Module, documented_names, public_modules, undocumented

MODULES = list(public_modules())
DOCUMENTED = documented_names(path.read_text(encoding="utf-8") for path in documents())
PLANTED = Module(
    "airflow_audit_provider.operators.planted",
    ast.parse(
        '''
class _Base:
    def __init__(self, *, table): ...
class Silent: ...
class Half(_Base):
    """Copies rows.

    :param rows: the rows.
    """
    def __init__(self, *, rows, limit=None, **kwargs): ...
def copy():
    """Copies."""
'''
    ),
)


@pytest.mark.parametrize("module", MODULES, ids=[module.name for module in MODULES])
def test_public_name_is_documented(module: Module) -> None:
    """Every public class and function of the module is on a page, with a docstring that describes its arguments."""
    assert undocumented(module, DOCUMENTED) == []


def test_documented_name_exists() -> None:
    """Each module that a page names exists; the build of the site checks the names inside it."""
    modules = {module.name for module in MODULES}
    unknown = [name for name in DOCUMENTED if not any(f"{name}.".startswith(f"{each}.") for each in modules)]
    assert unknown == []


def test_undocumented_name_is_found() -> None:
    """In a planted module, a name on no page, a missing docstring and an undescribed argument are found."""
    name = PLANTED.name
    assert undocumented(PLANTED, {f"{name}.Silent", f"{name}.Half"}) == [
        f"{name}.Silent has no docstring",
        f"{name}.Half does not describe its argument limit",
        f"{name}.Half does not describe its argument table",
        f"{name}.copy is on no page: add `::: {name}.copy` below docs/reference/",
    ]
    assert f"{name}.copy" not in str(undocumented(PLANTED, {name}))


def test_undocumented_export_is_found() -> None:
    """A name that a module re-exports is found if no page shows it."""
    module = Module("airflow_audit_provider.testing", ast.parse('from a.b import Fake\n__all__ = ["Fake"]'))
    assert undocumented(module, {module.name}) == []
    (complaint,) = undocumented(module, set())
    assert complaint.startswith("airflow_audit_provider.testing.Fake is on no page")
