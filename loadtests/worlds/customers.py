"""Customers at work: each call continues a conversation or begins one, as their class does."""

from __future__ import annotations

from random import Random

from .conversations import Conversation
from .days import DAY_S
from .desk import Desk, Later, Sent
from .faces import Face, Faces
from .models import after_release
from .reactions import People
from .refusals import Refusal

MAX_ATTEMPTS = 2
OVERHEARD = 0.002
QUOTED = b"Somebody posted this: "


class CustomerDesk:
    """Turns arrivals of customers into exchanges. `people` is what they do about refusals; None in
    an open loop, where nobody hears of any."""

    def __init__(self, desk: Desk, faces: Faces, people: People | None = None) -> None:
        self._desk = desk
        self._faces = faces
        self._people = people
        self._release = desk.plan.scenario.release

    def call(self, index: int, at_s: float) -> Sent:
        """Account `index` calls at `at_s`."""
        desk, rng = self._desk, self._desk.rng
        face = self._faces.of(index)
        conv = self._continued(face, at_s)
        if conv is None:
            conv = self._begun(face, at_s)
        if face.raw.pastes and desk.public and rng.random() < face.raw.pastes:
            conv.text = QUOTED + desk.public[int(rng.random() * len(desk.public))]
        body = conv.ask(rng, desk.prompt_bytes(conv.app.kind))
        return self._send(face, conv, at_s, body)

    def again(self, later: Later) -> Sent:
        """A request that failed is sent again, by the same client."""
        face = self._faces.of(later.account)
        conv, attempt = later.conversation, later.attempt
        if conv.owner != later.account:
            self._move(conv, face)
            attempt = 0  # the next account never saw it
        return self._send(face, conv, later.at_s, later.body, attempt, later)

    def _send(
        self,
        face: Face,
        conv: Conversation,
        at_s: float,
        body: bytes,
        attempt: int = 0,
        later: Later | None = None,
    ) -> Sent:
        """`attempt` is what this account's client has tried before, `later` what anybody has."""
        return self._desk.post(
            conv,
            at_s,
            body,
            sender=self,
            account=face.index,
            account_id=face.account_id,
            tries=0 if later is None else later.attempt,
            attempt=attempt,
            was_refused=later is not None and later.was_refused,
        )

    def answered(self, sent: Sent) -> None:
        desk, rng, conv = self._desk, self._desk.rng, sent.conversation
        face = self._faces.of(sent.account)
        if sent.failed_s is not None:
            self._after_failure(face, sent, sent.failed_s)
            return
        if rng.random() < OVERHEARD:
            desk.overhear(conv.passage(rng))
        desk.open.put(face.index, conv)

    def refused(self, sent: Sent, refusal: Refusal) -> None:
        """The conversation ends here, unless the client sends the same again."""
        assert self._people is not None
        wait_s = self._people.wait_s(self.class_of(sent), sent, refusal, MAX_ATTEMPTS)
        if wait_s is not None:
            self._desk.resend(
                sent.conversation.ready_s + wait_s,
                actor=sent.account,
                account=sent.account,
                conversation=sent.conversation,
                body=sent.body,
                attempt=sent.attempt + 1,
                was_refused=True,
            )

    def class_of(self, sent: Sent) -> str:
        return self._faces.of(sent.account).raw.name

    def _after_failure(self, face: Face, sent: Sent, failed_s: float) -> None:
        """SDKs wait and try again on the same account; an aggregator may take its next one."""
        desk, rng, tries = self._desk, self._desk.rng, sent.attempt
        if tries >= MAX_ATTEMPTS:
            return
        account, wait_s = face.index, (0.5 * 2**tries) * (0.75 + rng.random() / 2)
        if face.raw.fails_over and rng.random() < face.raw.fails_over:
            sibling = self._faces.of(_sibling(face, rng))
            if sibling.born_s <= failed_s:
                account, wait_s = sibling.index, rng.uniform(0.05, 1.5)
        desk.resend(
            failed_s + wait_s,
            actor=face.index,
            account=account,
            conversation=sent.conversation,
            body=sent.body,
            attempt=tries + 1,
            was_refused=sent.was_refused,
        )

    def _continued(self, face: Face, at_s: float) -> Conversation | None:
        """The account's own open conversation, or one that its group moves over to it."""
        desk, rng = self._desk, self._desk.rng
        if face.raw.moves and face.group_size > 1 and rng.random() < face.raw.moves:
            moved = desk.open.take(_sibling(face, rng), at_s)
            if moved is not None:
                self._move(moved, face)
                return moved
        return desk.open.take(face.index, at_s)

    def _move(self, conv: Conversation, face: Face) -> None:
        """The conversation goes on through another account of the same hand."""
        conv.owner = face.index
        conv.key = face.key(self._desk.rng)

    def _begun(self, face: Face, at_s: float) -> Conversation:
        desk, rng = self._desk, self._desk.rng
        app = face.apps[0] if len(face.apps) == 1 else rng.choice(face.apps)
        model = app.model
        if self._release is not None:
            since = (at_s - desk.plan.start_s) / DAY_S - self._release.day
            model = after_release(model, app.dialect, self._release, since, rng)
        user = None if face.users is None else face.users[int(rng.random() * len(face.users))]
        client = face.clients[app.dialect]
        conv = Conversation(app, client, rng, owner=face.index, model=model, user=user)
        conv.key = face.key(rng)
        conv.address = face.address(rng, desk.pool, desk.plan.seed, at_s)
        return conv


def _sibling(face: Face, rng: Random) -> int:
    """Another account of the group; the account itself where there is none."""
    if face.group_size < 2:
        return face.index
    other = face.group_first + int(rng.random() * (face.group_size - 1))
    return other if other < face.index else other + 1
