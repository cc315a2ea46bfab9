"""Only users who may read a dataset's asset see it, and nothing outside of the listed destinations is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests._airflow.coverage_page.site import Site, page_of, serve, write
from tests.pipelines.history.generated import committed, windows

pytestmark = pytest.mark.integration
WINDOW = "20261031T000000Z-20261101T000000Z"
# A window that is not committed, and one that is not written as its key is.
UNKNOWN = ("{id}/w/20250101T000000Z-20250102T000000Z", f"{{id}}/w/x{WINDOW}")
STRANGE_ASSETS = ("file:///etc", "http://127.0.0.1:9/metadata", "s3://bucket/<script>alert(1)</script>")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A destination with a few committed days."""
    return write(tmp_path_factory.mktemp("landed"), committed(windows(3)))


@pytest.fixture(scope="module")
def site(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The page of the destination, and of assets that any DAG author could create."""
    with serve(tmp_path_factory.mktemp("home"), [folder], STRANGE_ASSETS, waited_seconds=10) as served:
        yield served


@pytest.mark.parametrize("path", ["", "d/{id}", "d/{id}?day=2026-10-30", "d/{id}/verify", "d/{id}/w/x", "d/unknown"])
@pytest.mark.parametrize(("role", "status"), [(None, 401), ("nobody", 403)])
def test_page_without_session_or_right_answers_401_or_403(
    site: Site, folder: Path, path: str, role: str | None, status: int
) -> None:
    """Answers 401 without a session and 403 without the right, and shows no name of a dataset."""
    answer = site.get(path.replace("d/{id}", page_of(folder)), role)
    assert answer.status_code == status
    assert folder.name not in answer.text


def test_page_with_right_lists_dataset(site: Site, folder: Path) -> None:
    """A viewer sees the dataset and its figures."""
    answer = site.get()
    assert answer.status_code == 200
    assert folder.as_uri() in answer.text
    assert "2026-11-01T00:00:00Z" in answer.text


@pytest.mark.parametrize(
    "path",
    [*UNKNOWN, "d/..%2f..%2fetc", "d/%2e%2e/%2e%2e/etc/passwd", "static/..%2fpages.py", "static/pages.py", "w"],
)
def test_page_of_unknown_address_answers_404(site: Site, folder: Path, path: str) -> None:
    """An address selects only what is listed: no folder, bucket or file that it states is read."""
    assert site.get(path.replace("{id}", page_of(folder))).status_code == 404


@pytest.mark.parametrize("path", ["d/unknown", f"d/unknown/w/{WINDOW}", "d/unknown/verify"])
def test_page_of_unknown_dataset_says_that_there_may_be_none(site: Site, path: str) -> None:
    """The answer is that of a dataset that the user may not read."""
    answer = site.get(path)
    assert answer.status_code == 403
    assert "There is no such dataset, or you may not read it." in answer.text


def test_page_with_asset_of_local_files_or_other_scheme_reads_neither(site: Site) -> None:
    """An asset alone opens no local file and no address: the page says that the configuration has to list it."""
    text = site.get().text
    assert text.count("Only destinations in an object store are read from their asset alone.") == 2
    assert "<script>alert" not in text


@pytest.mark.parametrize("path", ["/w/../../../_seals/000001.json", "/w/%2e%2e%2f_dataset.json", f"/w/..%2f{WINDOW}"])
def test_window_page_of_name_that_leaves_folder_answers_404(site: Site, folder: Path, path: str) -> None:
    """A key is made from the instants of a window, never from the text of an address."""
    assert site.get(page_of(folder) + path).status_code == 404


@pytest.mark.parametrize("day", ["2026-13-01", "x", "0001-01-01", "9999-12-31", "2026-10-30'"])
def test_page_of_invalid_day_answers_400(site: Site, folder: Path, day: str) -> None:
    """A day that is none is answered with what to give instead."""
    answer = site.get(f"{page_of(folder)}?day={day}")
    assert answer.status_code == 400
    assert "2026-11-23" in answer.text


@pytest.mark.parametrize("path", ["", "d/unknown", "static/page.js"])
def test_each_answer_has_content_security_policy(site: Site, path: str) -> None:
    """No answer lets the browser run or load anything that the page itself does not ship."""
    policy = site.get(path).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_page_takes_no_request_that_changes_something(site: Site, method: str) -> None:
    """Each address only shows."""
    import httpx

    with httpx.Client(trust_env=False, cookies={"_token": site.tokens["operator"]}) as client:
        assert client.request(method, site.address).status_code == 405
