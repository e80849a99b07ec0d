"""The raw policy: what may stand in the YAML, key by key, before its meaning is checked.

The same models give the JSON Schema that editors complete from (json_schema.py). What a table or
a text means (conditions, quotas, durations, sets) is checked when compiling, where messages can
be better.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from .hints import did_you_mean
from .source import Place, Report, shown

MAX_EXCEPTIONS = 200
MAX_RULES = 500
MAX_LIMITS = 200
MAX_SETS = 200
MAX_SET_VALUES = 100_000
NAME_PATTERN = "^[a-z0-9][a-z0-9_-]{0,39}$"

_TEXT_OR_NUMBER = {"anyOf": [{"type": "string"}, {"type": "integer"}]}
CONDITION_FORMAT = "hydragate-condition"  # stands for the schema of conditions until it is built
_QUOTA = {
    "description": "60/min, 200k/hour, 1M/day; for concurrency a number, or '12 at once'",
    **_TEXT_OR_NUMBER,
}
Name = Annotated[str, WithJsonSchema({"type": "string", "pattern": NAME_PATTERN})]
Why = Annotated[str, Field(min_length=10, max_length=1000, description="Why this is here.")]
Message = Annotated[
    str, Field(min_length=1, max_length=300, description="What a refused caller reads.")
]
ModeName = Literal["enforce", "shadow"]
OnUnknown = Literal["match", "no_match"]
OnStoreErrorName = Literal["allow", "deny"]
Table = Annotated[Any, WithJsonSchema({"format": CONDITION_FORMAT})]
QuotaText = Annotated[Any, WithJsonSchema(_QUOTA)]
BurstText = Annotated[Any, WithJsonSchema(_TEXT_OR_NUMBER)]
Duration = Annotated[
    str, WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,9} ?(ms|s|m|min|h|d)$"})
]
Values = Annotated[
    Any,
    WithJsonSchema({"type": "array", "minItems": 1, "items": _TEXT_OR_NUMBER}),
]
Tiers = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "anyOf": [
                    _QUOTA,
                    {
                        "type": "object",
                        "properties": {"quota": _QUOTA, "burst": _TEXT_OR_NUMBER},
                        "required": ["quota"],
                        "additionalProperties": False,
                    },
                ]
            },
        }
    ),
]
_QUOTA_OR_NOTHING = {
    "anyOf": [
        _QUOTA,
        {"const": 0, "description": "nothing passes"},
        {
            "type": "object",
            "properties": {"quota": _QUOTA, "burst": _TEXT_OR_NUMBER},
            "required": ["quota"],
            "additionalProperties": False,
        },
    ]
}
States = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "quotas by cluster_state, each at most the one before it",
            "type": "object",
            "minProperties": 1,
            "properties": dict.fromkeys(("watched", "suspected", "confirmed"), _QUOTA_OR_NOTHING),
            "additionalProperties": False,
        }
    ),
]
Bands = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "quotas from that suspicion on, 0 to 1, each at most the one before it",
            "type": "object",
            "minProperties": 1,
            "patternProperties": {r"^(0|1|0?\.[0-9]+|[01]\.[0-9]*)$": _QUOTA_OR_NOTHING},
            "additionalProperties": False,
        }
    ),
]
By = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "account, key, org, tier, model, client_network, cluster, global, "
            "any signal, or a list of them",
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        }
    ),
]


_Model = TypeVar("_Model", bound=BaseModel)


class Raw(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RawDeny(Raw):
    """Refuse with 403, or with 451 for region."""

    status: Literal[403, 451] = 403


class RawThen(Raw):
    """Exactly one of deny, verify and throttle; the others are terms of verify."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["deny"]}, {"required": ["verify"]}, {"required": ["throttle"]}]
        }
    )

    deny: RawDeny | None = None
    verify: Literal["email", "phone", "payment", "identity", "organization"] | None = None
    throttle: Duration | None = None
    grace: Annotated[
        str | None, Field(description="24h, 24h at 60/hour, or 100 requests before it is enforced")
    ] = None
    trickle: Annotated[
        str | None, Field(description="10/hour: what a waiting account is still served")
    ] = None
    cooldown: Duration | None = None
    expires: Duration | None = None
    max_accounts: Annotated[
        int | None,
        Field(ge=1, le=1_000, description="how many accounts one mailbox, card or person settles"),
    ] = None


class RawException(Raw):
    """Whom a rule passes over, until when, and why; `until` is the first day on which it holds
    no more, in UTC."""

    org_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    account_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    until: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    reason: Annotated[str, Field(min_length=3, max_length=500)]


class RawRule(Raw):
    """When the conditions hold, this is the opinion."""

    name: Name
    why: Why
    mode: ModeName | None = None
    when: Table
    on_unknown: OnUnknown | None = None
    then: RawThen
    message: Message | None = None
    exceptions: list[RawException] | None = Field(default=None, max_length=MAX_EXCEPTIONS)


class RawLimit(Raw):
    """A quota on a key made of signals."""

    name: Name
    why: Why
    mode: ModeName | None = None
    by: By
    cost: Literal["requests", "input_tokens", "output_tokens", "total_tokens", "concurrency"] = (
        "requests"
    )
    quota: QuotaText = None
    burst: BurstText = None
    tiers: Tiers = None
    when: Table = None
    on_unknown: OnUnknown | None = None
    on_store_error: OnStoreErrorName | None = None
    lease: Duration | None = None
    cached_input_weight: float | None = Field(default=None, ge=0, le=1)
    shards: int | None = Field(default=None, ge=1, le=64)
    states: States = None
    suspicion: Bands = None
    jitter: float | None = Field(default=None, ge=0, le=0.5)
    floor: Duration | None = None
    message: Message | None = None


class RawRoute(Raw):
    """A way in that nobody listed before."""

    name: str
    methods: list[Literal["GET", "POST", "PUT", "PATCH", "DELETE"]] = Field(min_length=1)
    path: str
    dialect: Literal["openai", "anthropic", "problem"]
    shape: (
        Literal[
            "chat",
            "responses",
            "messages",
            "count_tokens",
            "embeddings",
            "completions",
            "batch",
        ]
        | None
    ) = None


class RawRoutes(Raw):
    """Changes to the list of ways in; what is not listed is refused."""

    add: list[str] = []
    remove: list[str] = []
    custom: list[RawRoute] = []


class RawHead(Raw):
    """What a policy says once, in any one of its files."""

    version: Literal[1] | None = None
    name: Name | None = None
    mode: ModeName | None = None
    unknown_credentials: Literal["adopt", "refuse"] | None = None
    on_store_error: OnStoreErrorName | None = None
    appeal: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    tiers: list[str] | None = Field(default=None, max_length=100)
    routes: RawRoutes | None = None


class RawPolicy(RawHead):
    """One policy file; all files of a folder together are one policy."""

    sets: dict[Name, Values] | None = None
    rules: list[RawRule] | None = Field(default=None, max_length=MAX_RULES)
    limits: list[RawLimit] | None = Field(default=None, max_length=MAX_LIMITS)


class RawSetFile(Raw):
    """`sets/<name>.yaml`: values with where they come from and who looked at them when."""

    source: Annotated[str, Field(min_length=3, max_length=500)]
    reviewed: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    owner: Annotated[str, Field(min_length=1, max_length=100)]
    review_by: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = None
    note: str | None = Field(default=None, max_length=2000)
    values: Values


def validated(model: type[_Model], data: object, place: Place, report: Report) -> _Model | None:
    """`data` as `model`; None when the report says what is wrong with it."""
    if not isinstance(data, dict):
        report.error(place, f"must be a table, not {shown(data)}")
        return None
    try:
        return model.model_validate(data)
    except ValidationError as error:
        for found in error.errors(include_url=False):
            where = Place(place.file, place.path + found["loc"])
            report.error(where, _message(model, found))
        return None


def known_keys(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys of the model that stands at `loc` inside of `model`."""
    for part in loc:
        if isinstance(part, str):
            model = _nested(model, part)
    return list(model.model_fields)


def _nested(model: type[BaseModel], name: str) -> type[BaseModel]:
    """The model inside the field's annotation; `model` itself where there is none."""
    waiting: list[Any] = [model.model_fields[name].annotation]
    while waiting:
        annotation = waiting.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return annotation
        waiting += get_args(annotation)
    return model


_MESSAGES = {
    "missing": "is required",
    "string_type": "must be text, not {input}",
    "int_type": "must be a whole number, not {input}",
    "float_type": "must be a number, not {input}",
    "bool_type": "must be true or false, not {input}",
    "list_type": "must be a list, not {input}",
    "dict_type": "must be a table, not {input}",
    "model_type": "must be a table, not {input}",
    "model_attributes_type": "must be a table, not {input}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_pattern_mismatch": "must look like {pattern}, not {input}",
}


def _message(model: type[BaseModel], found: ErrorDetails) -> str:
    kind, given = found["type"], found["input"]
    if kind == "extra_forbidden":
        known = known_keys(model, found["loc"][:-1])
        return f"no such key{did_you_mean(str(found['loc'][-1]), known)}"
    context = found.get("ctx", {})
    if kind == "literal_error":
        expected = context["expected"].replace("'", "")
        return f"must be {expected}, not {shown(given)}"
    template = _MESSAGES.get(kind)
    if template is None:
        return f"is not usable: {found['msg']}"
    return template.format(input=shown(given), **context)
