"""The retry policy: Airflow 3.3's way to ask, after a failure, whether and when a task is tried again.

Knows: Airflow's retry policies. Must not know: which failure deserves what (``core.backoff``).
Its one rule: what is no error of this provider is left to the task's own settings.

Airflow before 3.3 has no retry policies, and importing this fails there, saying so. The operators and sensors need none
to decide alike: what no retry mends fails at once, and the pull itself waits as long as a rate limit says.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_audit_provider.core.api.retry import decide_task_retry
from airflow_audit_provider.exceptions import AuditProviderError

if TYPE_CHECKING:
    from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
else:
    try:
        from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
    except ImportError as error:
        raise ImportError(
            "CloudflareRetryPolicy needs Airflow 3.3 or newer. Leave retry_policy out: without it the operators and "
            "sensors decide the same."
        ) from error


class CloudflareRetryPolicy(RetryPolicy):
    """Retries a task as Cloudflare and the error say; give it as ``retry_policy=`` to any operator or sensor.

    A rate limit (429) sets the delay to its ``Retry-After``, or five minutes without one; an unsettled window is tried
    again when it is settled. A wrong credential, permission, connection or argument, and whatever else no retry mends,
    fails at once. Other failures, and exceptions of others, follow the task's ``retries`` and ``retry_delay``. Two of
    these policies are equal: they keep nothing.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002 - Airflow gives it; it counts the tries itself
        max_tries: int,  # noqa: ARG002 - the same
        context: Any = None,  # noqa: ARG002 - the error says all there is to know
    ) -> RetryDecision:
        """Decide about one failure."""
        if not isinstance(exception, AuditProviderError):
            return RetryDecision.default()
        decided, reason = decide_task_retry(exception), f"{type(exception).__name__}: {exception}"
        if not decided.is_allowed:
            return RetryDecision.fail(reason)
        if decided.delay_seconds is None:
            return RetryDecision.default()
        return RetryDecision.retry(timedelta(seconds=decided.delay_seconds), reason)

    def serialize(self) -> dict[str, Any]:
        """Return what :meth:`deserialize` builds an equal policy from, as JSON values."""
        return {"__type": "CloudflareRetryPolicy"}

    @classmethod
    def deserialize(cls, state: dict[str, Any]) -> CloudflareRetryPolicy:  # noqa: ARG003 - there is nothing in it
        """Build a policy from what :meth:`serialize` returned."""
        return cls()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))
