"""Words of an action, a resource and a request: their split, and the sense of the verb among them.

Invariant: a word that is not known has no sense; it is never guessed from its letters.
"""

from __future__ import annotations

import re
from functools import lru_cache

from airflow_audit_provider.formats.ocsf.classes import Sense

Words = tuple[str, ...]

# A word of ``rec_add``, ``CreateBucket``, ``DNSRecordAdd``, ``API_key_created`` or ``r2.bucket``.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_VERBS_OF = {
    Sense.CREATE: (
        "create add insert register invite issue generate import upload clone copy duplicate provision submit"
    ),
    Sense.READ: (
        "view read get list download export query search preview validate check evaluate peek inspect analyze "
        "discover poll pull trace exists"
    ),
    # A purge empties a cache or a queue, which stays. Travel is D1's restoration of an earlier state.
    Sense.UPDATE: (
        "update edit set put change modify patch replace rename rotate roll renew purge flush clear invalidate enforce "
        "deploy order restore rollback revert reset refresh restart retry sync apply publish configure assign "
        "attach detach bind unbind link unlink merge reorder verify approve reject deny review travel upsert "
        "append migrate promote reclassify archive unarchive abort cancel stop start trigger "
        "begin connect disconnect kick ack ignore unignore tune pay"
    ),
    Sense.DELETE: "delete del remove revoke destroy drop erase uninstall",
    Sense.ENABLE: "enable unblock unrevoke",
    Sense.DISABLE: "disable block",
    Sense.ACTIVATE: "activate accept",
    Sense.DEACTIVATE: "deactivate expire",
    Sense.SUSPEND: "suspend pause",
    Sense.RESUME: "resume unsuspend unpause",
    Sense.MOVE: "move transfer",
    Sense.LOCK: "lock",
    Sense.UNLOCK: "unlock",
}
# Verbs that are also names of things, and nouns of actions: ``list_item_create`` creates. They decide only if no other
# word does.
_NOUNS_OF = {
    Sense.CREATE: "import upload issue copy clone creation addition",
    Sense.READ: "list view export download query search preview check get poll pull trace",
    Sense.UPDATE: (
        "set change patch order reset refresh review sync link modification rotation renewal deployment restart start "
        "stop trigger purge cancel put pending"
    ),
    Sense.DELETE: "deletion removal revocation",
    Sense.MOVE: "transfer",
    Sense.LOCK: "lock",
    Sense.DISABLE: "block",
    Sense.SUSPEND: "suspension",
}
SENSES = {word: sense for sense, words in _VERBS_OF.items() for word in words.split()} | {
    word: sense for sense, words in _NOUNS_OF.items() for word in words.split()
}
_NOUNS = frozenset(word for words in _NOUNS_OF.values() for word in words.split())
# First and last words of the segment of a path that have two: these are things, and those are verbs.
_THINGS_FIRST = frozenset({"block", "deployment", "list", "view", "order", "issue"})
_READS_LAST = frozenset({"check", "preview"})
# These decide before any other verb: ``add_enforce_twofactor`` changes what an account demands.
_FIRST = frozenset({"enforce", "purge"})


@lru_cache(maxsize=4096)
def words_of(text: str) -> Words:
    """Returns the words of a text, verbs in their base form; ``API_key_created`` has three."""
    return tuple(_base_form(word.lower()) for word in _WORD.findall(text))


def _base_form(word: str) -> str:
    """Returns the known verb of which a word is the past tense; any other word unchanged."""
    if word in SENSES or not word.endswith("ed"):
        return word
    stem = word[:-2]
    # ``deleted``, ``added``, ``copied``, ``dropped``.
    stems = (f"{stem}e", stem, f"{stem[:-1]}y" if stem.endswith("i") else "", stem[:-1])
    return next((one for one in stems if one in SENSES), word)


def verb_of(words: Words) -> str | None:
    """Returns the verb that decides what an action does; None if no word is a verb that is known."""
    verbs = [word for word in words if word in SENSES]
    if not verbs:
        return None
    first = next((word for word in verbs if word in _FIRST), None)
    return first or next((word for word in verbs if word not in _NOUNS), verbs[0])


def sense_of(words: Words) -> Sense | None:
    """Returns the sense of the verb that decides; None without one."""
    verb = verb_of(words)
    return None if verb is None else SENSES[verb]


def sense_of_request(segment: str) -> Sense | None:
    """Returns the sense of the last segment of a request's path, None if it names a thing.

    The verb is the whole segment, or its first word, or its last: ``purge_cache`` and ``batch_delete``, but not
    ``block_senders``, ``content_list`` and ``deployment-groups``.
    """
    words = words_of(segment)
    if not words:
        return None
    if words[0] in SENSES and (len(words) == 1 or words[0] not in _THINGS_FIRST):
        verb = words[0]
    elif words[-1] in SENSES and (words[-1] not in _NOUNS or words[-1] in _READS_LAST):
        verb = words[-1]
    else:
        return None
    # ``POST …/certificate_packs/order`` creates a pack. What is revoked by a request stays: another one undoes it.
    return None if verb == "order" else Sense.UPDATE if verb == "revoke" else SENSES[verb]


def things_in(words: Words) -> Words:
    """Returns the words that are no verbs, in order: what an action's type says that it acts on."""
    verb = verb_of(words)
    return tuple(word for word in words if word != verb and (word not in SENSES or word in _NOUNS))


def has_phrase(words: Words, *phrases: Words) -> bool:
    """Returns whether the words of a phrase follow each other among the words."""
    return any(
        words[start : start + len(phrase)] == phrase
        for phrase in phrases
        for start in range(len(words) - len(phrase) + 1)
    )
