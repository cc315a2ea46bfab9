"""Finds the datasets that the page shows: assets of this provider, and those that the configuration lists.

An asset has no connection, and any DAG author can create one. So an asset that the configuration does not list is read
with the default connection of its object store, and one of local files is not read at all.

Invariant: a store is opened only for a dataset of this list, never for an address that a request states, and each
reading of it has bounds.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import msgspec

from airflow_audit_provider._airflow.config import coverage_destinations, shows_assets
from airflow_audit_provider._airflow.destinations import dataset_id, dataset_uri, store_from_connection
from airflow_audit_provider.adapters.storage.read_bounds import ReadBounds
from airflow_audit_provider.core.api.endpoints import VERSIONS
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.exceptions import AuditProviderError, ConfigurationError

# Anyone who can write to a destination could fill the memory of the API server. An index of seals of windows of five
# minutes has 60 MB after a year and a half; three years of such windows have 315,000 manifests.
BOUNDS = ReadBounds(object_bytes=64 << 20, total_bytes=256 << 20, object_count=10_000, listed_count=320_000)
ASSET_GROUP = "cloudflare-audit-logs"
_READ_SCHEMES = frozenset({"s3", "gs", "abfs"})
_ESCAPED = re.compile(r"(?:%[89A-F][0-9A-F])+")


class Source(msgspec.Struct, frozen=True):
    """A dataset: its URI without credentials, and how it is read.

    ``asset_ids`` are the ids of the assets with this URI, none for a destination that only the configuration lists:
    Airflow keeps one asset for each name, so any DAG author can create another one. ``problem`` says why it is not
    read, empty if it is. ``dag_id`` is the DAG of the commands that fill gaps. ``version`` is that of a folder in the
    stitched history at ``root``. ``version_asset_ids`` are the assets that the folders of versions have of their own.
    """

    uri: str
    destination: str
    asset_ids: tuple[str, ...] = ()
    destination_conn_id: str | None = None
    dag_id: str | None = None
    problem: str = ""
    version: str = ""
    root: Source | None = None
    version_asset_ids: tuple[tuple[str, ...], ...] = ()

    @property
    def streams(self) -> tuple[Source, ...]:
        """The folders of the versions, if this is the root of a stitched history.

        They have the root's assets and their own: a user needs the right to each.
        """
        if self.root is not None:
            return ()
        base = self.destination.rstrip("/")
        return tuple(
            msgspec.structs.replace(
                self,
                uri=f"{self.uri}/{name}",
                destination=f"{base}/{name}",
                asset_ids=tuple(dict.fromkeys((*self.asset_ids, *own))),
                version=name,
                root=self,
            )
            for name, own in zip_longest(VERSIONS, self.version_asset_ids, fillvalue=())
        )

    @property
    def id(self) -> str:
        """The name of the dataset in addresses: a digest, so that no address holds a URI."""
        return dataset_id(self.uri)

    def open(self) -> Store:
        """Returns the store of the dataset; raises ``ConfigurationError`` for one that is not read."""
        if self.problem:
            raise ConfigurationError(
                f"The asset {self.uri} is not read. {self.problem} List the destination in coverage_destinations in "
                "section [cloudflare_audit_logs] of Airflow's configuration."
            )
        return store_from_connection(self.destination, self.destination_conn_id, BOUNDS)


def sources() -> list[Source]:
    """Returns all datasets, sorted by URI."""
    return merged(_assets(), coverage_destinations(), with_assets=shows_assets())


def merged(
    assets: Iterable[tuple[str, str]], configured: Iterable[dict[str, Any]], *, with_assets: bool = True
) -> list[Source]:
    """Returns the datasets of assets, as pairs of id and URI, and of the configuration's entries.

    Without ``with_assets`` a dataset that only an asset names is left out; the other ones still need the rights to
    their assets.
    """
    listed = set()
    found: dict[str, Source] = {}
    for asset_id, asset_uri in assets:
        uri = _ESCAPED.sub(_unescaped, asset_uri)
        others = found[uri].asset_ids if uri in found else ()
        found[uri] = Source(uri, uri, (*others, asset_id), problem=_problem(uri))
    for entry in configured:
        destination = entry["destination"]
        uri = dataset_uri(destination)
        listed.add(uri)
        known = found.get(uri)
        given: dict[str, Any] = {name: entry.get(name) for name in ("destination_conn_id", "dag_id")}
        found[uri] = Source(uri, destination, known.asset_ids if known else (), **given)
    return [_with_versions(found[uri], found) for uri in sorted(found if with_assets else listed)]


def _with_versions(source: Source, found: Mapping[str, Source]) -> Source:
    """Returns a dataset with the assets of its versions' folders, also those that are not shown themselves."""
    own = [found.get(f"{source.uri}/{name}") for name in VERSIONS]
    assets = tuple(() if one is None else one.asset_ids for one in own)
    return msgspec.structs.replace(source, version_asset_ids=assets) if any(assets) else source


def asset_uri_of(uri: str) -> str:
    """Returns the URI of the asset of a dataset, which has only ASCII characters."""
    return quote(uri, safe=string.printable)


def _problem(uri: str) -> str:
    """Returns why an asset that the configuration does not list is not read."""
    try:
        scheme, is_place = urlsplit(uri).scheme, dataset_uri(uri) == uri
    except (ValueError, AuditProviderError):
        # Any DAG author can create such an asset, and it must not take the other datasets from the page.
        scheme, is_place = "", False
    if scheme and scheme not in _READ_SCHEMES:
        return "Only destinations in an object store are read from their asset alone."
    return "" if is_place else "Its URI does not name a destination."


def _unescaped(match: re.Match[str]) -> str:
    """Returns the characters of an escape, and one that is no UTF-8 as it is, so that two URIs do not become one."""
    try:
        return unquote(match[0], errors="strict")
    except UnicodeDecodeError:
        return match[0]


def _assets() -> list[tuple[str, str]]:
    from airflow.models.asset import AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.execute(select(AssetModel.id, AssetModel.uri).where(AssetModel.group == ASSET_GROUP))
        return [(str(asset_id), uri) for asset_id, uri in found]
