"""Product categories of version 2: the list that the API returns, and the check of a filter against it.

Cloudflare API docs, `product_category`: "Matched case-insensitively; unknown product categories return 400. Repeatable.
Use the audit log product categories endpoint to discover the available values." No list is documented.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from airflow_audit_provider.core.api.endpoints import ACCOUNT
from airflow_audit_provider.core.api.query import AuditQuery, PageRequest
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, mapping_of
from airflow_audit_provider.core.api.responses import Page, read_entries
from airflow_audit_provider.core.ports import Request, Response
from airflow_audit_provider.exceptions import ConfigurationError

CATEGORY_FILTER = "product_category"


class ProductCategory(NamedTuple):
    """A category: the ``value`` of the filter, its ``label``, and the values and labels of its products."""

    value: str
    label: str
    products: tuple[tuple[str, str], ...] = ()


class CategoriesQuery(AuditQuery, frozen=True):
    """The list of an account's product categories; created and checked by :func:`categories_query`."""

    @property
    def path(self) -> str:
        """The endpoint's path below the API's base URL."""
        return f"{super().path}/product_categories"

    @property
    def log_name(self) -> str:
        """Name of the list in messages."""
        return f"the product categories of {super().log_name}"

    def page_request(self, page: PageRequest) -> Request:
        """Returns the HTTP request for the list, which has no parameters and a single page."""
        return super().page_request(page)._replace(params=())

    def _page_in(self, response: Response, now: datetime) -> Page:
        """Returns the list as one page; its entries are no records, so they have neither id nor time."""
        entries = read_entries(response, now, self.log_name)
        return Page([AuditRecord(0, "", bytes(entry)) for entry in entries], states_end=True)


def categories_query(query: AuditQuery) -> CategoriesQuery:
    """Returns the query of the categories of a log's account; raises ``ConfigurationError`` for any other log."""
    if query.version is not ApiVersion.V2 or query.scope != ACCOUNT:
        raise ConfigurationError(
            "Only version 2 of the API has product categories, and only for an account. Give account_id, or set it in "
            "the connection's extra."
        )
    return CategoriesQuery(query.version, query.scope, query.scope_id)


def categories_in(records: Iterable[AuditRecord]) -> list[ProductCategory]:
    """Returns the categories of a page; entries without a value, which no filter could name, are left out."""
    entries = [mapping_of(record.raw) for record in records]
    return [_category(entry) for entry in entries if isinstance(entry.get("value"), str)]


def _category(entry: Mapping[str, Any]) -> ProductCategory:
    products = entry.get("products")
    listed = products if isinstance(products, list) else []
    named = [one for one in listed if isinstance(one, Mapping) and isinstance(one.get("value"), str)]
    pairs = tuple((str(one["value"]), str(one.get("label") or one["value"])) for one in named)
    return ProductCategory(entry["value"], str(entry.get("label") or entry["value"]), pairs)


def wanted_categories(query: AuditQuery) -> list[str]:
    """Returns the categories that a query filters by."""
    return [value for name, value in query.filters if name == CATEGORY_FILTER]


def check_categories(wanted: Iterable[str], known: Sequence[ProductCategory]) -> None:
    """Raises ``ConfigurationError`` for a category that the account does not have, with the nearest name.

    An empty list states nothing: then every category is accepted here, and the API decides.
    """
    values = {category.value.lower() for category in known}
    for given in wanted:
        if values and given.lower() not in values:
            raise ConfigurationError(f"Product category {given!r} is unknown. {_advice(given.lower(), known)}")


def _advice(given: str, known: Sequence[ProductCategory]) -> str:
    # Imported only for an error, so that it does not slow down the start of every task.
    import difflib

    names = {text.lower(): one.value for one in known for text in (one.label, one.value)}
    near = difflib.get_close_matches(given, names, n=1)
    if near:
        return f"Did you mean {names[near[0]]!r}?"
    for category in known:
        product = next((value for value, label in category.products if given in (value.lower(), label.lower())), None)
        if product is not None:
            return (
                f"{product!r} is a product of the category {category.value!r}. Give the category, or "
                f"resource_product={product!r}."
            )
    return f"Give one of {', '.join(sorted(repr(one.value) for one in known))}."
