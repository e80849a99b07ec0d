"""What an operator sends: the applications of its tasks, of its own users and of its probes."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from .apps import App, own_prompt, parameters, tool_set
from .faces import Faces, user_id
from .models import draw_model
from .pools import AccountPool
from .roster import Customers
from .schema import RawTask
from .seeds import Weighted
from .tasks import Writer, items_of, kinds
from .templates import TaskAuthor, Wording

ORGANIC_APPS = 240
TENANTS = 400
LANGUAGE_AUTHORS = 3


class Workshop:
    """The applications of one pool, made once and shared by all of its accounts."""

    def __init__(self, pool: AccountPool, customers: Customers, faces: Faces) -> None:
        self._pool = pool
        self._raw = pool.campaign.raw
        self._knobs = pool.campaign.knobs
        self._rng = pool.rng("workshop")
        self._data_dir = pool.data_dir
        self._languages = Weighted(self._raw.languages)
        self._tasks = Weighted({at: task.weight for at, task in enumerate(self._raw.tasks)})
        self._apps: dict[tuple[int, str], list[App]] = {}
        self._wordings = [self._wording(task) for task in self._raw.tasks]
        self._probes: dict[str, App] = {}
        self._framed = self._victims(customers, faces)
        maker = faces.maker_of(customers.blocks[0])
        needs_organic = self._knobs.mixing > 0 or self._knobs.organic > 0
        self._organic = [maker.own_app(self._rng) for _ in range(ORGANIC_APPS * needs_organic)]
        self._tenants = [user_id(self._rng, 0) for _ in range(TENANTS)]

    def task(self, dialect: str, rng: Random) -> tuple[App, bytes | None]:
        """An application of the next task, and the prompt that stands in for its own."""
        at = self._tasks.draw(rng)
        apps = self._apps.get((at, dialect))
        if apps is None:
            apps = self._apps[at, dialect] = self._make(at, dialect)
        app = apps[int(rng.random() * len(apps))]
        if self._framed:
            return app, None
        if self._knobs.unique_templates:
            grammar = app.author.grammar
            return app, grammar.sentences(rng, rng.randint(4, 9))
        wording = self._wordings[at]
        return app, None if wording is None else wording.system(rng)

    def organic(self, rng: Random) -> App:
        """An application of the operator's users, or of strangers whose traffic it resells."""
        return self._organic[int(rng.random() * len(self._organic))]

    def tenant(self, rng: Random) -> bytes:
        return self._tenants[int(rng.random() * len(self._tenants))]

    def probe(self, dialect: str) -> App:
        """The least that still meets a limit: a word, and one token back."""
        app = self._probes.get(dialect)
        if app is None:
            kind = kinds()["chat"]
            app = self._probes[dialect] = replace(
                self._app(RawTask(kind="chat", max_tokens=16), dialect, kind.name, "en"),
                system=b"",
                tools=(),
            )
        return app

    def _wording(self, task: RawTask) -> Wording | None:
        if task.template is None:
            return None
        return Wording(
            task.template,
            self._rng,
            paraphrase=self._knobs.paraphrase,
            encoding=self._knobs.encoding,
            is_first=self._pool.number == 0,
        )

    def _make(self, at: int, dialect: str) -> list[App]:
        """One application a language: same prompt, tools and parameters, other users."""
        task = self._raw.tasks[at]
        first = self._app(task, dialect, task.kind, "en")
        victim = self._framed.get(dialect)
        if victim is not None:
            first = replace(victim, author=first.author, turns=task.turns, _frames={})
        elif self._framed:
            other = next(iter(self._framed.values()))
            first = replace(first, system=other.system, tools=other.tools)
        spoken = [self._languages.draw(self._rng) for _ in range(LANGUAGE_AUTHORS)]
        authors = [self._author(task, language) for language in spoken]
        return [first, *(replace(first, author=author, _frames={}) for author in authors)]

    def _author(self, task: RawTask, language: str) -> TaskAuthor:
        kind = kinds()[task.kind]
        writer = Writer(kind, language, items_of(kind.data, self._data_dir))
        return TaskAuthor(
            writer,
            task.template,
            self._rng,
            paraphrase=self._knobs.paraphrase,
            packing=self._knobs.packing,
        )

    def _app(self, task: RawTask, dialect: str, kind_name: str, language: str) -> App:
        rng, kind = self._rng, kinds()[kind_name]
        author = self._author(task, language)
        streams = rng.random() < self._raw.streams
        thinking = rng.random() < task.thinking
        tools: tuple[str, ...] = ()
        if task.tools is not None or kind.answer == "tool":
            tools = tool_set(rng, task.tools or kind.tools, is_own=True)
        params = parameters(
            rng,
            dialect,
            kind,
            streams=streams,
            thinking=thinking,
            temperature=task.temperature,
            max_tokens=task.max_tokens,
        )
        return App(
            dialect=dialect,
            kind=kind,
            author=author,
            system=own_prompt(rng, kind, author.grammar),
            tools=tools,
            params=params,
            history_at=rng.choice((0, 1, 1, 2, 9)),
            turns=task.turns,
            streams=streams,
            thinking=thinking,
            is_chained=False,
            carries_history=True,
            model=draw_model(rng, dialect),
            names_safety_id=dialect == "chat" and rng.random() < 0.35,
        )

    def _victims(self, customers: Customers, faces: Faces) -> dict[str, App]:
        """The applications of the account that is framed, by dialect."""
        if self._knobs.frames is None:
            return {}
        face = faces.of(self._pool.framed_account(customers))
        return {app.dialect: app for app in face.apps}
