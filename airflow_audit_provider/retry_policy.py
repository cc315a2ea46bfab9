"""Retry policy for Airflow 3.3 and newer: decides after a failure whether and when Airflow retries the task.

Older versions have no retry policies: importing this module fails there with an error that names the remedy. Operators
and sensors make the same decisions without it: an error that no retry can fix fails at once, and the operator itself
waits as long as a rate limit asks.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_audit_provider._airflow.compat import retry_policy_classes
from airflow_audit_provider.core.api.retry import decide_task_retry
from airflow_audit_provider.exceptions import AuditProviderError

if TYPE_CHECKING:
    from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
else:
    RetryPolicy, RetryDecision = retry_policy_classes()


class CloudflareRetryPolicy(RetryPolicy):
    """Retries a task as the error requires; pass it as ``retry_policy=`` to any operator or sensor.

    After a rate limit (429), the delay is its ``Retry-After``, or five minutes without one. An unsettled window is
    retried when it is settled. A wrong credential, permission, connection or argument, and any other error that no
    retry can fix, fails the task at once. Other errors of this provider, and exceptions of other code, follow the
    task's ``retries`` and ``retry_delay``. All instances are equal, because the policy has no settings.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002 - Airflow passes it and counts the attempts itself
        max_tries: int,  # noqa: ARG002 - the same
        context: Any = None,  # noqa: ARG002 - the error alone decides
    ) -> RetryDecision:
        """Decides about one failure."""
        if not isinstance(exception, AuditProviderError):
            return RetryDecision.default()
        decision, reason = decide_task_retry(exception), f"{type(exception).__name__}: {exception.message}"
        if not decision.is_allowed:
            return RetryDecision.fail(reason)
        if decision.delay_seconds is None:
            return RetryDecision.default()
        return RetryDecision.retry(timedelta(seconds=decision.delay_seconds), reason)

    def serialize(self) -> dict[str, Any]:
        """Returns the JSON values from which :meth:`deserialize` builds an equal policy."""
        return {"__type": "CloudflareRetryPolicy"}

    @classmethod
    def deserialize(cls, state: dict[str, Any]) -> CloudflareRetryPolicy:  # noqa: ARG003 - the state is empty
        """Returns a policy for the values that :meth:`serialize` returned."""
        return cls()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))
