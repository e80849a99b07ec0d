"""What an adversary's rewriting does to scores, and that a language alone does nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

from ...adapters.body import read_body
from ...classifiers.model import LinearModel
from ...classifiers.request import TaskClassifier, TaskFeatures
from ...classifiers.wording import Wording
from ...model import TASKS
from ...policy.source import Report, parse_yaml
from ..worlds.dialects import PATHS
from ..worlds.phrases import phrases, plain
from ..worlds.templates import encoded, worded
from .corpus import Example, own_examples
from .rewriting import rewritten

EACH = 12
OPERATORS = 3
ONE_IN = 6
PAD_SENTENCES = 60  # about 3 KB
LANGUAGES = ("en", "de", "fr", "es", "zh", "ja")
# Two everyday sentences each, of our own; languages that the lexicon has no words of among them.
EVERYDAY = {
    "tr": "Komşumun bahçesinde üç ağaç var. Akşamları orada oturuyoruz.",
    "ar": "في حديقة جاري ثلاث أشجار. نجلس هناك في المساء.",
    "hi": "मेरे पड़ोसी के बगीचे में तीन पेड़ हैं। हम शाम को वहाँ बैठते हैं।",
    "pl": "W ogrodzie sąsiada rosną trzy drzewa. Wieczorami tam siedzimy.",
    "vi": "Trong vườn nhà hàng xóm có ba cái cây. Buổi tối chúng tôi ngồi ở đó.",
    "ko": "이웃집 정원에는 나무가 세 그루 있다. 저녁마다 거기에 앉는다.",
    "en": "There are three trees in the neighbour's garden. In the evening we sit there.",
    "de": "Im Garten des Nachbarn stehen drei Bäume. Abends sitzen wir dort.",
    "fr": "Il y a trois arbres dans le jardin du voisin. Le soir nous y sommes assis.",
    "es": "Hay tres árboles en el jardín del vecino. Por la tarde nos sentamos allí.",
    "zh": "邻居的花园里有三棵树。傍晚大家坐在那里。",
    "ja": "隣の庭に木が三本ある。夕方になるとそこに座る。",
}
_FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_DIALECTS = {path: dialect for dialect, path in PATHS.items()}
Rewriting = Callable[[str, Random], str]


def _padding(rng: Random) -> str:
    return plain(phrases("en").sentences(rng, PAD_SENTENCES))


ATTACKS: Mapping[str, Rewriting] = {
    "zero-width": lambda text, rng: encoded(text, "zero-width", rng),
    "homoglyphs": lambda text, rng: encoded(text, "homoglyphs", rng),
    "full-width": lambda text, _: "".join(
        chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text
    ),
    "capitals": lambda text, _: text.upper(),
    "padded before": lambda text, rng: f"{_padding(rng)}\n\n{text}",
    "padded after": lambda text, rng: f"{text}\n\n{_padding(rng)}",
    "padded around": lambda text, rng: f"{_padding(rng)}\n\n{text}\n\n{_padding(rng)}",
    "base64": lambda text, rng: encoded(text, "base64", rng),
}


class Scorer:
    """Scores of single requests that nothing was seen before."""

    def __init__(self, model: LinearModel) -> None:
        self._classifier = TaskClassifier(model)

    def scores(self, system: str, question: str) -> dict[str, float]:
        """Of a chat with no more than that."""
        turns = [{"role": "system", "content": system}] if system else []
        turns.append({"role": "user", "content": question})
        raw = json.dumps({"model": "m", "messages": turns}, ensure_ascii=False).encode()
        return self.scores_of(raw, "chat")

    def scores_of(self, body: bytes, dialect: str) -> dict[str, float]:
        levels = TaskFeatures().levels(read_body(body, dialect), None)
        assert levels is not None
        return dict(zip(TASKS, self._classifier.read(levels).scores, strict=True))


def attacks(model: LinearModel, rng: Random) -> dict[str, Any]:
    """For each attack and task: mean score of campaign requests before and after, and the share
    over the threshold. Requests of English templates as operators send them, with their tools and
    parameters; instructions are rewritten wherever they stand."""
    scorer = Scorer(model)
    requests = list(_campaign_requests(rng))
    found: dict[str, Any] = {}
    for name, rewrite in {"none": lambda text, _: text, **ATTACKS}.items():
        by_task: dict[str, list[float]] = {}
        for one in requests:
            body = rewritten(one.body, partial(_unless_empty, rewrite, rng))
            score = scorer.scores_of(body, _DIALECTS[one.path])[one.tasks[0]]
            by_task.setdefault(one.tasks[0], []).append(score)
        found[name] = {task: _told(model, task, scores) for task, scores in by_task.items()}
    return found


def _told(model: LinearModel, task: str, scores: list[float]) -> dict[str, float]:
    threshold = model.thresholds[model.heads.index(task)] or 1.0
    over = sum(score >= threshold for score in scores) / len(scores)
    half = sum(score >= 0.5 for score in scores) / len(scores)
    return {"mean": round(fmean(scores), 3), "over_half": round(half, 3), "flagged": round(over, 3)}


def _unless_empty(rewrite: Rewriting, rng: Random, text: str) -> str:
    return rewrite(text, rng) if text else ""


def _campaign_requests(rng: Random) -> Iterator[Example]:
    found = own_examples(rng, None, operators=OPERATORS)
    ours = (one for one in found if one.language == "en" and one.who == "campaign")
    return islice(ours, 0, None, ONE_IN)


def paraphrase(model: LinearModel, campaigns: Path, rng: Random) -> dict[str, Any]:
    """Templates of the shipped campaigns, which hold alternatives for their words: the score of
    the plain wording, and mean and largest distance of `EACH` others from it."""
    scorer, found = Scorer(model), {}
    for path in sorted(campaigns.glob("*.yaml")):
        for n, task in enumerate(_tasks_of(path)):
            if not task.get("template", {}).get("system"):
                continue
            texts = [_worded(task["template"], None)]
            texts += [_worded(task["template"], rng) for _ in range(EACH)]
            scores = [scorer.scores(*text) for text in texts]
            best = _highest(scores[0])
            apart = [abs(one[best] - scores[0][best]) for one in scores[1:]]
            found[f"{path.stem}/{task['kind']}/{n}"] = {
                "task": best,
                "plain": scores[0][best],
                "mean_apart": round(fmean(apart), 3),
                "most_apart": round(max(apart), 3),
                "same_highest": round(
                    sum(max(one, key=lambda name: one[name]) == best for one in scores[1:]) / EACH,
                    3,
                ),
            }
    return found


def _highest(scores: Mapping[str, float]) -> str:
    return max(scores, key=lambda name: scores[name])


def _tasks_of(path: Path) -> list[dict[str, Any]]:
    source = parse_yaml(path.read_bytes(), path.name, Report())
    assert source is not None
    return list(source.data["tasks"])


def _worded(template: Any, rng: Random | None) -> tuple[str, str]:
    system = " ".join(worded(sentence, rng) for sentence in template["system"])
    user = worded(template.get("user", ["{item}"])[0], rng)
    return system, user.replace("{item}", "A plain task.")


def languages(model: LinearModel) -> dict[str, Any]:
    """Everyday sentences that say the same, bare and under one English system prompt: scores by
    language, for each task the largest less the least (`apart`), and the largest distance from
    an English text of the same length (`from_english`), which is what the language itself does."""
    scorer, wording = Scorer(model), Wording()
    found: dict[str, Any] = {}
    for name, system in (("bare", ""), ("under one prompt", "Score the answer from 1 to 5.")):
        by_language = {code: scorer.scores(system, text) for code, text in EVERYDAY.items()}
        english = {
            code: scorer.scores(system, _english_as_long_as(text, wording))
            for code, text in EVERYDAY.items()
        }
        found[name] = {
            "scores": by_language,
            "apart": {task: _spread(by_language.values(), task) for task in TASKS},
            "from_english": {
                task: max(
                    round(abs(one[task] - english[code][task]), 3)
                    for code, one in by_language.items()
                )
                for task in TASKS
            },
        }
    return found


def _english_as_long_as(text: str, wording: Wording) -> str:
    """By the letters that the classifier counts, quotation marks of JSON among them."""
    letters = wording.question(json.dumps(text, ensure_ascii=False).encode()).letters
    return (EVERYDAY["en"] * 9)[: letters - 2]


def _spread(scores: Iterable[Mapping[str, float]], task: str) -> float:
    values = [one[task] for one in scores]
    return round(max(values) - min(values), 3)
