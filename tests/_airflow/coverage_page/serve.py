"""Serves the coverage page as Airflow's API server mounts it: with its auth manager, its tables and its cookies.

Runs as a process of its own, because Airflow reads its settings when it is imported. The first line that it prints is
JSON with the address and one token for each role. Arguments: a JSON list of asset URIs, and the seconds that a page
waits for a store.
"""

from __future__ import annotations

import json
import socket
import sys

import uvicorn
from airflow.api_fastapi.app import create_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.models import import_all_models
from airflow.models.asset import AssetModel
from airflow.models.base import Base
from airflow.settings import engine
from airflow.utils.session import create_session
from fastapi import FastAPI

from airflow_audit_provider._airflow.coverage_page.routes import build
from airflow_audit_provider._airflow.coverage_page.sources import ASSET_GROUP
from airflow_audit_provider._airflow.destinations import PAGE_PREFIX

ROLES = {"viewer": "VIEWER", "operator": "OP", "nobody": None}


def main(assets: list[str], waited_seconds: float) -> None:
    """Serves until the process is ended."""
    import_all_models()
    Base.metadata.create_all(engine)
    with create_session() as session:
        session.add_all(AssetModel(name=uri, uri=uri, group=ASSET_GROUP) for uri in assets)
    auth = create_auth_manager()
    app = FastAPI()
    app.mount(PAGE_PREFIX, build(waited_seconds=waited_seconds))
    users = {name: SimpleAuthManagerUser(username=name, role=role) for name, role in ROLES.items()}
    tokens = {name: auth.generate_jwt(user) for name, user in users.items()}
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}{PAGE_PREFIX}/"
        print(json.dumps({"address": address, "tokens": tokens}), flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), float(sys.argv[2]))
