"""Accounts v1 (CONTRACTS §3): one record in, a change out.

Raw keys, card fingerprints and addresses are hashed while a record is read; nothing else of
this package ever sees them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

from ..adapters.headers import identity_credential
from ..core.keyed import KeyedHash, network_bytes
from ..core.quota import QuotaError, parse_quota
from ..model import OWNERSHIPS, SECOND_US, Grant, Level, Status
from ..policy.hints import did_you_mean
from ..ports import GeoSource
from .account_changes import AccountChange

MAX_KEYS = 10_000
MAX_UNKNOWN = 20
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
SIGNUP_PATHS = frozenset({"standard", "education", "startup", "research"})
_ID = re.compile(r"[\x21-\x7e]{1,128}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_TEXT_FIELDS = {"org_id": 128, "tier": 64, "email_domain": 253}
_KNOWN = {
    *_TEXT_FIELDS,
    *("account_id", "created_at", "billing_country", "phone_country", "payment_fingerprint"),
    *("signup_ip", "signup_path", "verification", "key_ids", "keys", "sub_users", "contracts"),
    *("status", "quotas", "removed", "ownership"),
}


class RecordError(ValueError):
    """The record cannot be used; the message names the field and what it should be."""


class RecordReader:
    """Turns records into changes under the operator's secret.

    With `edge_names_accounts` every account may also be named by the authenticating edge.
    """

    def __init__(
        self,
        keyed: KeyedHash,
        *,
        edge_names_accounts: bool = False,
        geo: GeoSource | None = None,
        limit_names: Callable[[], Collection[str]] | None = None,
    ) -> None:
        """`geo` tells the country that an account signed up from; the address is not kept.
        `limit_names` are those of the policy in force; None where there is none."""
        self._keyed = keyed
        self._geo = geo
        self._limit_names = limit_names
        self._edge_names_accounts = edge_names_accounts

    def read(self, record: object) -> AccountChange:
        """Raises RecordError. Unknown fields are ignored here, as in the traffic log; see
        `unknown_fields` for who tells of them."""
        if not isinstance(record, dict):
            raise RecordError("a record is a JSON object")
        for name, value in record.items():
            if not _is_text_throughout(value):
                raise RecordError(f"{_shown(name)}: text with half of a surrogate pair")
        account_id = record.get("account_id")
        if not isinstance(account_id, str) or not _ID.fullmatch(account_id):
            raise RecordError("account_id: 1 to 128 printable ASCII characters without spaces")
        if record.get("removed") is True:
            return AccountChange(account_id, {}, None, is_removal=True)
        fields = dict(self._fields(record))
        identity = None
        if self._edge_names_accounts:
            identity = identity_credential(account_id, self._keyed)
        return AccountChange(account_id, fields, self._credentials(record), identity)

    def doubts(self, record: object) -> list[tuple[str, str]]:
        """(name, what to say of it) of each part of a usable record that has no effect."""
        unknown = [(name, f"{text} (ignored)") for name, text in unknown_fields(record)]
        return unknown + self.idle_quotas(record)

    def idle_quotas(self, record: object) -> list[tuple[str, str]]:
        """Likewise of quotas for limits that the policy in force does not have. They are stored
        all the same: a policy that has them may be on its way."""
        quotas = record.get("quotas") if isinstance(record, dict) else None
        if not isinstance(quotas, dict) or self._limit_names is None:
            return []
        known = self._limit_names()
        said = "limits nothing: the policy in force has no such limit"
        return [
            (f"quotas.{name}", f"quotas.{name[:64]}: {said}{did_you_mean(name, known)}")
            for name in [name for name in quotas if name not in known][:MAX_UNKNOWN]
        ]

    def _fields(self, record: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, most in _TEXT_FIELDS.items():
            if name in record:
                yield name, _text(name, record[name], most)
        for name in ("billing_country", "phone_country"):
            if name in record:
                yield name, _country(name, record[name])
        if "created_at" in record:
            yield "created_us", _instant_us("created_at", record["created_at"])
        if "payment_fingerprint" in record:
            text = _text("payment_fingerprint", record["payment_fingerprint"], 512)
            yield "payment", None if text is None else self._keyed.value("payment", text)
        if "signup_ip" in record:
            address = _address(record["signup_ip"])
            yield "signup_network", None if address is None else self._network(address)
            yield "signup_country", None if address is None else self._country_of(address)
        if "signup_path" in record:
            yield "signup_path", _choice("signup_path", record["signup_path"], SIGNUP_PATHS)
        if "verification" in record:
            yield "grants", _grants(record)
        if "ownership" in record:
            yield "ownership", _choice("ownership", record["ownership"], frozenset(OWNERSHIPS))
        if "contracts" in record:
            yield "contracts", _texts("contracts", record["contracts"], 32, 64)
        if "sub_users" in record:
            yield "sub_users", bool(record["sub_users"])
        if "status" in record:
            yield "status", _status(record["status"])
        if "quotas" in record:
            yield "quotas", _quotas(record["quotas"])

    def _network(self, address: Address) -> str:
        return self._keyed.address(network_bytes(address))

    def _country_of(self, address: Address) -> str | None:
        return None if self._geo is None else self._geo.place_of(address).country

    def _credentials(self, record: dict[str, Any]) -> dict[str, str] | None:
        keys = record.get("keys")
        if keys is None:
            return None
        if not isinstance(keys, list) or len(keys) > MAX_KEYS:
            raise RecordError(f"keys: a list of at most {MAX_KEYS} strings")
        ids = record.get("key_ids") or []
        credentials = {}
        for index, key in enumerate(keys):
            if not isinstance(key, str) or not 8 <= len(key) <= 4096 or not key.isascii():
                raise RecordError(f"keys[{index}]: a string of 8 to 4096 ASCII characters")
            hashed = self._keyed.credential(key.encode())
            named = len(ids) == len(keys) and isinstance(ids[index], str)
            credentials[hashed] = ids[index][:128] if named else f"key_{hashed[:8]}"
        return credentials


def unknown_fields(record: object) -> list[tuple[str, str]]:
    """(name, what to say of it) of each field that a record has and accounts v1 has not."""
    if not isinstance(record, dict):
        return []
    names = [name for name in record if name not in _KNOWN][:MAX_UNKNOWN]
    return [(name, f"{_shown(name)}: no such field{did_you_mean(name, _KNOWN)}") for name in names]


def _shown(name: str) -> str:
    """A field's name so that every answer and every log can hold it."""
    return name[:64].encode("utf-8", "backslashreplace").decode()


def _is_text_throughout(value: object) -> bool:
    """Whether all text in it can be stored. JSON may escape half of a surrogate pair (RFC 8259
    §8.2), and Python reads it, but UTF-8 has no bytes for it."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str) and not one.isascii() and _SURROGATE.search(one):
            return False
        if isinstance(one, dict):
            left += [*one, *one.values()]
        elif isinstance(one, list):
            left += one
    return True


def _address(text: object) -> Address | None:
    if text is None:
        return None
    try:
        address = ipaddress.ip_address(str(text))
    except ValueError:
        raise RecordError(f"signup_ip: '{text}' is no IP address") from None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _text(name: str, value: object, most: int) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= most:
        raise RecordError(f"{name}: a string of 1 to {most} characters, or null")
    return value


def _texts(name: str, values: object, most: int, length: int) -> tuple[str, ...]:
    if values is None:
        return ()
    if not isinstance(values, list) or len(values) > most:
        raise RecordError(f"{name}: a list of at most {most} strings")
    return tuple(_text(name, value, length) or "" for value in values)


def _country(name: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _COUNTRY.fullmatch(value):
        raise RecordError(f"{name}: two capital letters (ISO 3166-1), or null")
    return value


def _choice(name: str, value: object, choices: frozenset[str]) -> str | None:
    if value is None:
        return None
    if value not in choices:
        raise RecordError(f"{name}: one of {', '.join(sorted(choices))}, or null")
    return str(value)


def _instant_us(name: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise RecordError(f"{name}: Unix seconds UTC, or null")
    return int(value * SECOND_US)


def _grants(record: dict[str, Any]) -> tuple[Grant, ...]:
    granted_us = _instant_us("created_at", record.get("created_at")) or 0
    names = _texts("verification", record["verification"], len(Level), 32)
    try:
        return tuple(Grant(Level[name.upper()], granted_us) for name in names)
    except KeyError:
        known = ", ".join(level.name.lower() for level in Level)
        raise RecordError(f"verification: any of {known}") from None


def _status(value: object) -> Status:
    if value not in (Status.ACTIVE, Status.BANNED):
        raise RecordError("status: active or banned")
    return Status(str(value))


def _quotas(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > 64:
        raise RecordError("quotas: an object of at most 64 limit names with quotas")
    for name, text in value.items():
        try:
            parse_quota(str(text))
        except QuotaError as error:
            raise RecordError(f"quotas.{name}: {error}") from None
    return {str(name): str(text) for name, text in value.items()}
