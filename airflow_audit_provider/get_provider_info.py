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
        "operators": [
            {
                "integration-name": name,
                "python-modules": [
                    "airflow_audit_provider.operators.audit_logs",
                    "airflow_audit_provider.operators.coverage",
                    "airflow_audit_provider.operators.plan",
                    "airflow_audit_provider.operators.seal",
                    "airflow_audit_provider.operators.verify",
                    "airflow_audit_provider.operators.warehouses",
                ],
            }
        ],
        "sensors": [{"integration-name": name, "python-modules": ["airflow_audit_provider.sensors.audit_logs"]}],
        "triggers": [{"integration-name": name, "python-modules": ["airflow_audit_provider.triggers.audit_logs"]}],
        "extra-links": [
            "airflow_audit_provider.links.audit_logs.ManifestLink",
            "airflow_audit_provider.links.audit_logs.CloudflareDashboardLink",
        ],
        "config": {"cloudflare_audit_logs": _section()},
        "connection-types": [_connection_type()],
    }


def _connection_type() -> dict[str, object]:
    """The connection type and its form."""
    return {
        "connection-type": "cloudflare",
        "hook-class-name": "airflow_audit_provider.hooks.cloudflare.CloudflareHook",
        "hook-name": "Cloudflare",
        "ui-field-behaviour": _standard_fields(),
        "conn-fields": {**_identity_fields(), **_network_fields(), **_tuning_fields(), **_sharing_fields()},
    }


def _section() -> dict[str, object]:
    """The section of Airflow's configuration."""
    description = "Defaults for tasks of the Cloudflare audit log provider that do not set the argument themselves."
    return {"description": description, "options": {**_options(), **_sharing_options()}}


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


def _identity_fields() -> dict[str, object]:
    """Fields that select the audit log."""
    return {
        "account_id": {
            "label": "Account id",
            "description": "32 hexadecimal digits, from the account's overview page.",
            "schema": {"type": ["string", "null"], "pattern": "^[0-9a-f]{32}$"},
        },
        "organization_id": {
            "label": "Organization id",
            "description": "Only for the organization scope of version 2.",
            "schema": {"type": ["string", "null"]},
        },
    }


def _network_fields() -> dict[str, object]:
    """Fields for a company's network."""
    return {
        "proxy": {
            "label": "Proxy",
            "description": "For example http://user:password@proxy.example.com:3128; if empty, HTTPS_PROXY.",
            "schema": {"type": ["string", "null"], "format": "password"},
        },
        "ca_bundle": {
            "label": "Certificate authorities",
            "description": "Path of a PEM file on every worker; if empty, SSL_CERT_FILE, SSL_CERT_DIR or certifi.",
            "schema": {"type": ["string", "null"]},
        },
    }


def _sharing_fields() -> dict[str, object]:
    """Fields of what tasks share."""
    return {
        "rate_limit_conn_id": {
            "label": "Redis connection of the request budget",
            "description": "A connection of type redis, for workers on several machines; if empty, a local file.",
            "schema": {"type": ["string", "null"]},
        },
    }


def _tuning_fields() -> dict[str, object]:
    """Fields that limit requests, attempts and waiting times."""
    return {
        "timeout_seconds": {
            "label": "Read timeout, seconds",
            "description": "Longest time without data; 60 if empty. A whole response may take five times as long.",
            "schema": {"type": ["number", "null"], "minimum": 1, "maximum": 600},
        },
        "rate_limit_requests": {
            "label": "Requests per period",
            "description": "Upper limit; if empty, the limit that the API announces, at first 1200.",
            "schema": {"type": ["integer", "null"], "minimum": 1},
        },
        "rate_limit_seconds": {
            "label": "Length of the period, seconds",
            "description": "300 if empty.",
            "schema": {"type": ["number", "null"], "minimum": 1},
        },
        "max_attempts": {
            "label": "Attempts per request",
            "description": "8 if empty.",
            "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 100},
        },
        "max_retry_seconds": {
            "label": "Longest time on one request, seconds",
            "description": "1800 if empty; a rate-limit block takes 300.",
            "schema": {"type": ["number", "null"], "minimum": 0},
        },
        "max_response_bytes": {
            "label": "Largest response, bytes",
            "description": "134217728 if empty, also after decompression.",
            "schema": {"type": ["integer", "null"], "minimum": 1},
        },
    }
