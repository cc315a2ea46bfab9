"""Lies of whole answers: empty and unusable ones, other statuses, and bodies that do not end."""

from __future__ import annotations

from typing import ClassVar

from tests.campaign.lie import Lie
from tests.campaign.lying_server import Answer, Ask


class FirstAnswerEmpty(Lie):
    """The first answer shows no row."""

    meaning = "the first answer is an empty list"
    result: ClassVar[bytes] = b"[]"
    shapes = ("quiet", "busy", "dense", "ties", "crowded", "one second")

    def prepare(self) -> None:
        self.last_number = 1

    def end_transient_state(self) -> None:
        self.last_number = 0

    def change_answer(self, answer: Answer, ask: Ask) -> Answer:
        if ask.number > self.last_number or answer.status != 200:
            return answer
        self.took_effect |= bool(self.log.inside)
        body = b'{"success":true,"errors":[],"messages":[],"result":%b}' % self.result
        return Answer(200, body, answer.headers)


class FirstAnswerNull(FirstAnswerEmpty):
    meaning = "the first answer is `result: null`"
    result = b"null"


class EmptySpell(FirstAnswerEmpty):
    meaning = "the first two to six answers are empty lists"

    def prepare(self) -> None:
        self.last_number = self.rng.randint(2, 6)


class NullAnswers(FirstAnswerEmpty):
    meaning = "`result: null` in a random quarter of the answers"
    result = b"null"

    def change_answer(self, answer: Answer, ask: Ask) -> Answer:
        self.last_number = ask.number if self.rng.random() < 0.25 else 0
        return super().change_answer(answer, ask)


class WrongDate(Lie):
    meaning = "the header `Date` says 1970"

    def change_answer(self, answer: Answer, ask: Ask) -> Answer:
        self.took_effect = True
        answer.headers["Date"] = "Thu, 01 Jan 1970 00:00:00 GMT"
        return answer


class SomeAnswers(Lie):
    """Gives a wrong answer in place of a random quarter of the answers."""

    wrong: ClassVar[tuple[Answer, ...]] = ()
    share: ClassVar[float] = 0.25

    def change_answer(self, answer: Answer, ask: Ask) -> Answer:
        if self.rng.random() >= self.share:
            return answer
        self.took_effect = True
        wrong = self.rng.choice(self.wrong)
        return Answer(wrong.status, wrong.body, {**answer.headers, **wrong.headers}, wrong.pace)


_FAILURE = b'{"success":false,"errors":[{"code":1000,"message":"internal"}],"messages":[],"result":[]}'
_PAGE_OF_HTML = b"<!DOCTYPE html><html><body>Just a moment</body></html>"


class UnusableBodies(SomeAnswers):
    meaning = "200 with HTML, `success: false`, an empty body or half of the JSON, in a random quarter of the answers"
    wrong = (
        Answer(200, _PAGE_OF_HTML, {"Content-Type": "text/html"}),
        Answer(200, _FAILURE),
        Answer(200, b""),
        Answer(200, b'{"success":true,"errors":[],"result":[{"id":"a'),
    )


class OtherSuccess(SomeAnswers):
    meaning = "202, 203, 204 or 206 in a random quarter of the answers"
    wrong = tuple(Answer(status, b'{"success":true,"errors":[],"result":[]}') for status in (202, 203, 204, 206))


class Conflicts(SomeAnswers):
    meaning = "408, 409, 421 or 425 in a random quarter of the answers"
    wrong = tuple(Answer(status, _FAILURE) for status in (408, 409, 421, 425))


class RateLimited(SomeAnswers):
    meaning = "429, with and without `Retry-After`, in a random quarter of the answers"
    wrong = (Answer(429, _FAILURE, {"Retry-After": "300"}), Answer(429, b"", {}))


class ServerErrors(SomeAnswers):
    meaning = "500, 502, 503, 504 or 522 with HTML or JSON in a random quarter of the answers"
    wrong = tuple(Answer(status, body) for status in (500, 502, 503, 504, 522) for body in (_FAILURE, _PAGE_OF_HTML))


class BrokenConnections(SomeAnswers):
    meaning = "the connection is closed in the middle of a random quarter of the answers"
    wrong = (Answer(200, b'{"success":true,"errors":[],"result":[]}', {}, "cut"),)


class Outage(SomeAnswers):
    meaning = "from one answer on, all are unusable"
    share = 1.0
    wrong = (*UnusableBodies.wrong, *OtherSuccess.wrong, *ServerErrors.wrong)

    def prepare(self) -> None:
        self.number = self.rng.randint(1, 3)
        self.wrong_one = self.rng.choice(self.wrong)

    def end_transient_state(self) -> None:
        self.number = 1 << 62

    def change_answer(self, answer: Answer, ask: Ask) -> Answer:
        if ask.number < self.number:
            return answer
        self.took_effect = True
        return Answer(self.wrong_one.status, self.wrong_one.body, answer.headers)


class TenSecondOutage(Outage):
    meaning = "unusable answers, all of one kind, for two to five requests"

    def prepare(self) -> None:
        super().prepare()
        self.last_number = self.number + self.rng.randint(1, 4)

    def change_answer(self, answer: Answer, ask: Ask) -> Answer:
        return answer if ask.number > self.last_number else super().change_answer(answer, ask)


class TricklingBody(Lie):
    meaning = "the body of one answer arrives byte by byte"
    timeout_seconds = 0.08
    shapes = ("quiet", "busy")

    def prepare(self) -> None:
        self.number = self.rng.randint(1, 2)

    def change_answer(self, answer: Answer, ask: Ask) -> Answer:
        if ask.number != self.number:
            return answer
        self.took_effect = True
        return Answer(answer.status, answer.body.ljust(4000), answer.headers, "trickle")


class EndlessBody(TricklingBody):
    meaning = "the body of one answer never ends"
    timeout_seconds = 2.0
    max_response_bytes = 2 << 20

    def change_answer(self, answer: Answer, ask: Ask) -> Answer:
        if ask.number != self.number:
            return answer
        self.took_effect = True
        return Answer(200, b"", answer.headers, "endless")
