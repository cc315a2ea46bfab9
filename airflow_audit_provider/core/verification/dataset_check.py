"""Checks that all windows of a destination belong to the dataset that its descriptor states.

A changed descriptor differs from every manifest, so the seals of the manifests protect it, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from airflow_audit_provider.core.archive.dataset import Dataset, dataset_of, read_dataset
from airflow_audit_provider.core.archive.manifest import is_canonical
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY, read_manifest_key
from airflow_audit_provider.core.verification.findings import Finding, FindingKind, finding
from airflow_audit_provider.core.verification.manifest_chain import Generation
from airflow_audit_provider.exceptions import VerificationError


class DatasetCheck:
    """Check against the stored descriptor; ``content`` is None if there is none.

    Without a readable descriptor the first window checked stands for the dataset.
    """

    def __init__(self, content: bytes | None) -> None:
        self._content = content
        self._reason = ""
        self._dataset: Dataset | None = None
        try:
            self._dataset = None if content is None else read_dataset(content)
        except VerificationError as error:
            self._reason = error.message

    def findings(self, keys: Iterable[str]) -> Iterator[Finding]:
        """Yields what is wrong with the descriptor itself; ``keys`` are those of all manifests."""
        if self._content is None:
            if any(read_manifest_key(key) for key in keys):
                fact = "The destination has windows but no dataset descriptor."
                yield finding(FindingKind.DATASET_MISSING, DATASET_KEY, fact)
        elif self._dataset is None:
            yield finding(FindingKind.DATASET_UNREADABLE, DATASET_KEY, self._reason)
        elif not is_canonical(self._dataset, self._content):
            fact = "The descriptor's bytes differ from the canonical bytes of its content. Restore it from a copy."
            yield finding(FindingKind.DATASET_UNREADABLE, DATASET_KEY, fact)

    def window_findings(self, newest: Generation | None) -> Iterator[Finding]:
        """Yields a finding if a window's newest generation belongs to another dataset."""
        if newest is None:
            return
        mine = dataset_of(newest.manifest)
        self._dataset = self._dataset or mine
        expected = self._dataset.as_erased(mine) if newest.manifest.erased else self._dataset
        differences = mine.differences_from(expected)
        if differences:
            fact = f"The window belongs to another dataset than the destination: {'; '.join(differences)}."
            yield finding(FindingKind.WINDOW_FOREIGN, newest.key, fact)
