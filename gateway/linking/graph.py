"""Who has shown which value: a bipartite graph of accounts and keyed hashes, bounded.

Law: an account holds at most `MAX_VALUES_PER_BLOCK` values of a block, so that chatter in one block
never drives out another's, nor chatter in one family another family's; a value remembers at most
`MAX_HOLDERS` holders, the latest (of a full one `DROPPED_AT_ONCE` go). What nobody has shown for
`KEPT_US` is forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from ..core.sub_users import parts_of
from ..model import SECOND_US
from .evidence import Block, Key, all_families

RINGS = frozenset({Block.RELAY, Block.TIMING})
TYING = RINGS | {Block.FACTS}
"""Blocks whose values tie those who share them."""
MAX_VALUES_PER_BLOCK = 24  # of one account
MAX_HOLDERS = 65_536
DROPPED_AT_ONCE = 1_024  # of the oldest holders
KEPT_US = 30 * 86_400 * SECOND_US
LONELY_KEPT_US = 3 * 86_400 * SECOND_US  # of a value that only one account has shown


class Account:
    """One account as the linker knows it; `values` in the order in which they were first shown."""

    __slots__ = ("account_id", "created_us", "first_us", "last_us", "shares", "values")

    def __init__(self, account_id: str, at_us: int) -> None:
        self.account_id = account_id
        self.created_us: int | None = None
        self.first_us = self.last_us = at_us
        self.values: dict[int, None] = {}
        self.shares = 0  # bit per family: shows a value that another account shows too


class Value:
    """One value of one family and who has shown it, in that order. Most are shown by one account
    and never again, so that a dictionary of holders comes with the second."""

    __slots__ = ("block", "family", "holders", "last_us", "text", "was")

    def __init__(self, text: str, family: int, block: Block, at_us: int) -> None:
        self.text = text  # the keyed hash
        self.was = ""  # the same under the linking key before; empty where nobody told
        self.family = family  # its number in `Graph.families`
        self.block = block
        self.holders: dict[int, None] | tuple[int, ...] = ()
        self.last_us = at_us


class Graph:
    """See the module's docstring. Numbers of accounts and values are never used again.

    `ties` has of each account those of its values that tie it: of a block in `TYING`, and shown by
    another account too. Most accounts have none, and groups are examined by nothing else. `exempt`
    are the accounts that are never linked, `users` the sub-users of each aggregator.
    """

    def __init__(self) -> None:
        self.families = tuple(all_families())
        self.accounts: dict[int, Account] = {}
        self.values: dict[int, Value] = {}
        self.ties: dict[int, dict[int, None]] = {}
        self.exempt: set[int] = set()
        self.users: dict[str, dict[int, None]] = {}
        self.sharing = [0] * len(self.families)  # accounts that share a value, by family
        self.least_sharing = [all_families()[name].least_sharing for name in self.families]
        self._blocks = [all_families()[name].block for name in self.families]
        self._family_numbers = {name: number for number, name in enumerate(self.families)}
        self._account_numbers: dict[str, int] = {}
        self._value_numbers: list[dict[str, int]] = [{} for _ in self.families]
        self._next_account = self._next_value = 0

    def account(self, account_id: str, at_us: int) -> int:
        """The number of an account, which may be new."""
        number = self._account_numbers.get(account_id)
        if number is None:
            number = self._next_account
            self._next_account += 1
            self._account_numbers[account_id] = number
            self.accounts[number] = Account(account_id, at_us)
            owner, user = parts_of(account_id)
            if user is not None:
                self.users.setdefault(owner, {})[number] = None
        return number

    def most_of_one_aggregator(self, numbers: Iterable[int]) -> int:
        """How many of these accounts are users of that aggregator which has most of them."""
        if not self.users:
            return 0
        found: Counter[str] = Counter()
        for number in numbers:
            owner, user = parts_of(self.accounts[number].account_id)
            found[owner] += user is not None
        return max(found.values(), default=0)

    def drop(self, number: int) -> None:
        """Forget one account and what it has shown."""
        account = self.accounts[number]
        for value_number in list(account.values):
            self._withdraw(number, value_number)
        self._uncount(account)
        self.exempt.discard(number)
        owner, user = parts_of(account.account_id)
        if user is not None:
            self.users[owner].pop(number, None)
            if not self.users[owner]:
                del self.users[owner]
        del self.accounts[number], self._account_numbers[account.account_id]

    def block_of(self, family: int) -> Block:
        return self._blocks[family]

    def find(self, account_id: str) -> int | None:
        return self._account_numbers.get(account_id)

    def value(self, key: Key) -> int | None:
        family = self._family_numbers.get(key.family)
        return None if family is None else self._value_numbers[family].get(key.value)

    def name_of(self, value: Value) -> str:
        """The name of its family."""
        return self.families[value.family]

    def show(self, number: int, key: Key, at_us: int) -> int | None:
        """Note that the account shows the value; its number where that is new, else None.

        Families that this version does not know are passed over.
        """
        family = self._family_numbers.get(key.family)
        if family is None:
            return None
        value_number = self._value_numbers[family].get(key.value)
        if value_number is None:
            value_number = self._renamed(family, key)
        if value_number is None:
            value_number = self._value_numbers[family][key.value] = self._next_value
            self._next_value += 1
            self.values[value_number] = Value(key.value, family, self._blocks[family], at_us)
        value, account = self.values[value_number], self.accounts[number]
        if at_us > value.last_us:
            value.last_us = at_us
        if at_us > account.last_us:
            account.last_us = at_us
        if key.was and not value.was:
            self.know_as(value_number, key.was)
        if value_number in account.values:
            return None
        if len(value.holders) >= MAX_HOLDERS:  # a pool that takes up what is popular is seen
            self._drop_oldest(value, value_number)
        if len(account.values) >= MAX_VALUES_PER_BLOCK:
            self._make_room(number, value.block)
        account.values[value_number] = None
        self._hold(value, value_number, number)
        return value_number

    def know_as(self, number: int, was: str) -> None:
        """Gateways that have not heard of the new linking key tell of the value as `was`. Where a
        value of that name is known by itself, it keeps its name and fades."""
        value = self.values[number]
        if self._value_numbers[value.family].setdefault(was, number) == number:
            value.was = was

    def _renamed(self, family: int, key: Key) -> int | None:
        """The number of a value that was known under the linking key before, and from now on is
        under this one; None where there is none. Its holders, and clusters, go with it."""
        numbers = self._value_numbers[family]
        number = numbers.get(key.was) if key.was else None
        if number is None:
            return None
        value = self.values[number]
        if value.was:  # of a key before the one before
            numbers.pop(value.was, None)
        numbers[key.value] = number
        value.text, value.was = key.value, value.text
        return number

    def forget_before(self, now_us: int) -> None:
        """Drop what is too old to matter."""
        for number, value in list(self.values.items()):
            age_us = now_us - value.last_us
            if age_us > (LONELY_KEPT_US if len(value.holders) < 2 else KEPT_US):
                for holder in list(value.holders):
                    self._withdraw(holder, number)
                del self.values[number], self._value_numbers[value.family][value.text]
                if value.was:
                    del self._value_numbers[value.family][value.was]
        for number, account in list(self.accounts.items()):
            if not account.values and now_us - account.last_us > KEPT_US:
                self.drop(number)

    def keys(self) -> dict[int, tuple[str, str]]:
        """Number → (family, keyed hash) of every value."""
        names = self.families
        return {number: (names[value.family], value.text) for number, value in self.values.items()}

    def records(
        self, keys: Mapping[int, tuple[str, str]]
    ) -> Iterator[tuple[str, int, int, int | None, bool, list[tuple[str, str]]]]:
        """Every account with its `keys`, for a snapshot, which makes the same graph from them."""
        for number, account in self.accounts.items():
            yield (
                account.account_id,
                account.first_us,
                account.last_us,
                account.created_us,
                number in self.exempt,
                [keys[shown] for shown in account.values],
            )

    def _make_room(self, number: int, block: Block) -> None:
        """The oldest value of the family that has most of them goes: questions, of which each
        conversation brings a new one, do not drive out the one set of tools."""
        values = self.values
        shown = [v for v in self.accounts[number].values if values[v].block is block]
        if len(shown) >= MAX_VALUES_PER_BLOCK:
            counts = Counter([values[v].family for v in shown])
            most = max(counts, key=lambda family: (counts[family], -family))
            self._withdraw(number, next(v for v in shown if values[v].family == most))

    def _hold(self, value: Value, value_number: int, number: int) -> None:
        """One more holder. The second makes both sharers; each later one itself."""
        if not value.holders:
            value.holders = (number,)
            return
        if isinstance(value.holders, tuple):
            value.holders = dict.fromkeys(value.holders)
        value.holders[number] = None
        late = value.holders if len(value.holders) == 2 else (number,)
        bit, ties = 1 << value.family, value.block in TYING
        for one in late:
            account = self.accounts[one]
            if ties:
                self.ties.setdefault(one, {})[value_number] = None
            if not account.shares & bit:
                account.shares |= bit
                self.sharing[value.family] += 1

    def _drop_oldest(self, value: Value, value_number: int) -> None:
        """Many at once: to find the first of a dictionary costs as much as went before it."""
        for oldest in list(islice(value.holders, DROPPED_AT_ONCE)):
            self._withdraw(oldest, value_number)

    def _withdraw(self, number: int, value_number: int) -> None:
        value = self.values[value_number]
        self.accounts[number].values.pop(value_number, None)
        ties = self.ties.get(number)
        if ties is not None and ties.pop(value_number, 0) is None and not ties:
            del self.ties[number]
        if isinstance(value.holders, dict):
            value.holders.pop(number, None)
        elif number in value.holders:
            value.holders = ()

    def _uncount(self, account: Account) -> None:
        for family in range(len(self.families)):
            if account.shares >> family & 1:
                self.sharing[family] -= 1
