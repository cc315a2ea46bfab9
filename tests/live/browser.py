"""Operates Airflow's connection pages in a real browser.

Invariant: everything is done with visible elements; nothing by the REST API.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from playwright.sync_api import Locator, Page, expect

from harness.chromium import WITHIN_MS


def open_form(page: Page, connection_type: str) -> Locator:
    """Opens the form of a new connection, chooses its type and returns the form."""
    page.goto("/connections")
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.get_by_role("combobox").first.fill(connection_type)
    page.get_by_role("option", name=connection_type, exact=True).click()
    return form


def fill(form: Locator, texts: Mapping[str, str], section: str | None = None) -> None:
    """Writes a text into each field of a section, found by its label; the form shows one section at a time."""
    if section is not None:
        unfold(form, section)
    for label, text in texts.items():
        field = field_of(form, label)
        field.fill(text)
        field.blur()


def unfold(form: Locator, section: str) -> Locator:
    """Opens a section of the form, which closes the others, and returns it."""
    heading = form.get_by_role("button", name=section, exact=True)
    if heading.get_attribute("aria-expanded") == "false":
        heading.click()
    named = form.page.get_by_role("button", name=section, exact=True)
    opened = form.locator("[data-part=item]").filter(has=named).locator("[data-part=item-content]")
    expect(opened).to_be_visible()
    return opened


def labels(form: Locator, section: str) -> set[str]:
    """Returns the labels of a section's fields."""
    return {text.strip() for text in unfold(form, section).locator("label").all_inner_texts()}


def field_of(form: Locator, label: str) -> Locator:
    """Returns the field beside a label; Airflow links a label only to some kinds of fields."""
    named = form.page.locator("label").filter(has_text=re.compile(rf"^{re.escape(label)}\s*\*?\s*$"))
    return form.locator("[data-scope=field][data-part=root]").filter(has=named).locator("input, textarea").first


def save(page: Page, form: Locator) -> None:
    """Presses *Save* and waits until the form is closed."""
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_have_count(0, timeout=WITHIN_MS)


def press_test(page: Page, conn_id: str) -> dict[str, Any]:
    """Presses *Test Connection* in the row of a connection; returns the response when the page shows it."""
    page.goto("/connections")
    row = page.get_by_role("row").filter(has_text=conn_id)
    with page.expect_response(re.compile("/connections/test$")) as reported:
        row.get_by_role("button", name="Test Connection").click()
    answer: dict[str, Any] = reported.value.json()
    return answer


def open_again(page: Page, conn_id: str) -> Locator:
    """Opens the form of an existing connection with *Edit*, and returns it."""
    page.goto("/connections")
    page.get_by_role("row").filter(has_text=conn_id).get_by_role("button", name="Edit Connection").click()
    form = page.get_by_role("dialog")
    expect(form.locator("input[name=host]")).to_be_visible()
    return form
