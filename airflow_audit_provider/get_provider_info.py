"""Declaration of the provider for Airflow, as literal dicts.

Invariant: it imports and computes nothing, because a declaration that fails stops the discovery of all providers.
"""


def get_provider_info() -> dict[str, object]:
    """Returns a new dict that follows ``airflow/provider_info.schema.json``."""
    name = "Cloudflare Audit Logs"
    return {
        "package-name": "airflow-audit-provider",
        "name": name,
        "description": "Writes Cloudflare audit logs to object storage: every record once, verifiable.",
        "integrations": [
            {
                "integration-name": name,
                "external-doc-url": "https://developers.cloudflare.com/fundamentals/account/account-security/review-audit-logs/",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": name, "python-modules": ["airflow_audit_provider.hooks.cloudflare"]}],
        "operators": [{"integration-name": name, "python-modules": _operator_modules()}],
        "sensors": [{"integration-name": name, "python-modules": ["airflow_audit_provider.sensors.audit_logs"]}],
        "triggers": [{"integration-name": name, "python-modules": _trigger_modules()}],
        "extra-links": [
            "airflow_audit_provider.links.audit_logs.ManifestLink",
            "airflow_audit_provider.links.audit_logs.CoverageLink",
            "airflow_audit_provider.links.audit_logs.CloudflareDashboardLink",
        ],
        # Airflow 3.2 and later read it.
        "cli": ["airflow_audit_provider.cli.airflow_commands.get_commands"],
        "config": {"cloudflare_audit_logs": _section()},
        "connection-types": [_connection_type()],
    }


def _operator_modules() -> list[str]:
    """The modules with operators, which a plugin imports before the DAG processor forks."""
    return [
        "airflow_audit_provider.operators.audit_logs",
        "airflow_audit_provider.operators.changes",
        "airflow_audit_provider.operators.coverage",
        "airflow_audit_provider.operators.detect",
        "airflow_audit_provider.operators.plan",
        "airflow_audit_provider.operators.reconcile",
        "airflow_audit_provider.operators.report",
        "airflow_audit_provider.operators.seal",
        "airflow_audit_provider.operators.verify",
        "airflow_audit_provider.operators.warehouses",
    ]


def _trigger_modules() -> list[str]:
    """The modules of which a DAG file may name a class or a function that the triggerer runs."""
    return [f"airflow_audit_provider.triggers.{name}" for name in ("audit_logs", "deadline")]


def _connection_type() -> dict[str, object]:
    """The connection type and its form."""
    return {
        "connection-type": "cloudflare",
        "hook-class-name": "airflow_audit_provider.hooks.cloudflare.CloudflareHook",
        "hook-name": "Cloudflare",
        "ui-field-behaviour": _standard_fields(),
        "conn-fields": {**_scope_fields(), **_limit_fields(), **_network_fields()},
    }


def _section() -> dict[str, object]:
    """The section of Airflow's configuration."""
    description = "Defaults for tasks of the Cloudflare audit log provider that do not set the argument themselves."
    return {"description": description, "options": {**_options(), **_sharing_options(), **_page_options()}}


def _options() -> dict[str, object]:
    """The section's options; Airflow wants defaults as texts."""
    return {
        "settle_delay_seconds": {
            "description": "Seconds to wait after a window's end before reading it, because records arrive late.",
            "version_added": "1.0.0",
            "type": "integer",
            "example": "3600",
            "default": "900",
        },
        "concurrency": {
            "description": "How many requests of one task may be open at a time, 1 to 64.",
            "version_added": "1.0.0",
            "type": "integer",
            "example": "4",
            "default": "6",
        },
        "max_part_bytes": {
            "description": "Size in bytes of a data object at which the next one is started, at least 1048576.",
            "version_added": "1.0.0",
            "type": "integer",
            "example": "67108864",
            "default": "134217728",
        },
        "edges_pause_seconds": {
            "description": "Seconds to wait before the edges of a recent window are requested again, 0 to 600.",
            "version_added": "1.0.0",
            "type": "integer",
            "example": "60",
            "default": "30",
        },
        "v2_history_start": {
            "description": "First day (UTC) of version 2's own history; windows of version 2 before it are refused.",
            "version_added": "1.0.0",
            "type": "string",
            "example": "2026-02-01",
            "default": "2026-03-10",
        },
    }


def _sharing_options() -> dict[str, object]:
    """The options of what tasks share."""
    return {
        "share_rate_limit": {
            "description": "Whether all tasks of a machine that use the same token share one request budget.",
            "version_added": "1.0.0",
            "type": "boolean",
            "example": "False",
            "default": "True",
        },
    }


def _page_options() -> dict[str, object]:
    """The options of the coverage page."""
    return {
        "coverage_destinations": {
            "description": "Datasets of the coverage page beside the assets: a JSON list of objects; each has the key "
            "destination and, if wanted, destination_conn_id and dag_id.",
            "version_added": "1.0.0",
            "type": "string",
            "example": '[{"destination": "s3://audit/cloudflare", "destination_conn_id": "aws_audit"}]',
            "default": "",
        },
        "coverage_assets": {
            "description": "Whether the coverage page also shows datasets that have an asset and are not listed.",
            "version_added": "1.0.0",
            "type": "boolean",
            "example": "False",
            "default": "True",
        },
        "coverage_changes": {
            "description": "Whether the coverage page shows what records changed: the values before and after, which "
            "are content of records.",
            "version_added": "1.0.0",
            "type": "boolean",
            "example": "True",
            "default": "False",
        },
    }


def _standard_fields() -> dict[str, object]:
    """Labels and placeholders of the standard connection fields; Airflow masks the password field by itself."""
    return {
        # The port stays visible: Airflow 3.3.0 to 3.3.2 cannot test a connection without a port field.
        "hidden-fields": ["schema"],
        "relabeling": {
            "host": "API base URL",
            "port": "Port of the API",
            "login": "E-mail (only with a Global API Key)",
            "password": "API token, or Global API Key",
        },
        "placeholders": {
            "host": "https://api.cloudflare.com/client/v4",
            "login": "leave empty for an API token",
            "password": "API token with Account Settings: Read",
            "port": "leave empty, or 443",
        },
    }


def _scope_fields() -> dict[str, object]:
    """Fields that select the audit log."""
    return {
        "account_id": {
            "label": "Account id",
            "schema": {
                "type": ["string", "null"],
                "pattern": "^[0-9a-f]{32}$",
                "section": "Scope",
                "description_md": (
                    "32 hexadecimal digits. [Where to find it]"
                    "(https://developers.cloudflare.com/fundamentals/account/find-account-and-zone-ids/)"
                ),
            },
        },
        "organization_id": {
            "label": "Organization id",
            "schema": {
                "type": ["string", "null"],
                "section": "Scope",
                "description_md": "Only to read the audit log of an organization (version 2 of the API).",
            },
        },
    }


def _limit_fields() -> dict[str, object]:
    """Fields that limit requests, attempts and waiting times."""
    return {
        "rate_limit_requests": {
            "label": "Requests per period",
            "schema": {
                "type": ["integer", "null"],
                "minimum": 1,
                "section": "Limits",
                "description_md": (
                    "If empty, the limit that the API states: 1200 in 300 seconds for all clients of a user. "
                    "[Rate limits](https://developers.cloudflare.com/fundamentals/api/reference/limits/)"
                ),
            },
        },
        "rate_limit_seconds": {
            "label": "Length of the period, in seconds",
            "schema": {
                "type": ["number", "null"],
                "minimum": 1,
                "section": "Limits",
                "description_md": "300 if empty.",
            },
        },
        "rate_limit_conn_id": {
            "label": "Redis connection for a shared rate limit",
            "schema": {
                "type": ["string", "null"],
                "section": "Limits",
                "description_md": (
                    "Id of a connection of type *redis*, through which workers on several machines share the limit of "
                    "this token. If empty, the tasks of one machine share it."
                ),
            },
        },
        **_retry_fields(),
        **_response_fields(),
    }


def _retry_fields() -> dict[str, object]:
    """Fields that limit the attempts of one request."""
    return {
        "max_attempts": {
            "label": "Attempts per request",
            "schema": {
                "type": ["integer", "null"],
                "minimum": 1,
                "maximum": 100,
                "section": "Limits",
                "description_md": "8 if empty.",
            },
        },
        "max_retry_seconds": {
            "label": "Longest time to retry a request, in seconds",
            "schema": {
                "type": ["number", "null"],
                "minimum": 0,
                "section": "Limits",
                "description_md": (
                    "1800 if empty. If a client exceeds the rate limit, Cloudflare blocks it for 300 seconds."
                ),
            },
        },
    }


def _response_fields() -> dict[str, object]:
    """Fields that limit one response."""
    return {
        "timeout_seconds": {
            "label": "Longest wait for data, in seconds",
            "schema": {
                "type": ["number", "null"],
                "minimum": 1,
                "maximum": 600,
                "section": "Limits",
                "description_md": "60 if empty. A whole response may take five times as long.",
            },
        },
        "max_response_bytes": {
            "label": "Largest response, in bytes",
            "schema": {
                "type": ["integer", "null"],
                "minimum": 1,
                "section": "Limits",
                "description_md": "134217728 (128 MiB) if empty; also applies after decompression.",
            },
        },
    }


def _network_fields() -> dict[str, object]:
    """Fields for a company's network."""
    return {
        "proxy": {
            "label": "Proxy",
            "schema": {
                "type": ["string", "null"],
                "format": "password",
                "section": "Network",
                "description_md": "For example `http://user:password@proxy.example.com:3128`. If empty, `HTTPS_PROXY`.",
            },
        },
        "ca_bundle": {
            "label": "Certificate authorities",
            "schema": {
                "type": ["string", "null"],
                "section": "Network",
                "description_md": (
                    "Path of a PEM file on every worker. If empty, `SSL_CERT_FILE`, `SSL_CERT_DIR`, or the public "
                    "authorities."
                ),
            },
        },
    }
