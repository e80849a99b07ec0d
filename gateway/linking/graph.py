"""Who has shown which value: a bipartite graph of accounts and keyed hashes, bounded.

Law: an account holds at most `MAX_VALUES_PER_BLOCK` values of a block, so that chatter in one block
never drives out another's, nor chatter in one family another family's; a value remembers at most
`MAX_HOLDERS` holders, the latest. What nobody has shown for `KEPT_US` is forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..model import SECOND_US
from .evidence import Block, Key, all_families

MAX_VALUES_PER_BLOCK = 24  # of one account
MAX_HOLDERS = 65_536
KEPT_US = 30 * 86_400 * SECOND_US
LONELY_KEPT_US = 3 * 86_400 * SECOND_US  # of a value that only one account has shown


class Account:
    """One account as the linker knows it; `values` in the order in which they were first shown."""

    __slots__ = ("account_id", "created_us", "first_us", "is_exempt", "last_us", "shares", "values")

    def __init__(self, account_id: str, at_us: int) -> None:
        self.account_id = account_id
        self.created_us: int | None = None
        self.first_us = self.last_us = at_us
        self.is_exempt = False
        self.values: dict[int, None] = {}
        self.shares = 0  # bit per family: shows a value that another account shows too


class Value:
    """One value of one family and who has shown it."""

    __slots__ = ("block", "family", "holders", "key", "last_us")

    def __init__(self, key: Key, family: int, block: Block, at_us: int) -> None:
        self.key = key
        self.family = family  # its number in `Graph.families`
        self.block = block
        self.holders: dict[int, None] = {}
        self.last_us = at_us


class Graph:
    """See the module's docstring. Numbers of accounts and values are never used again."""

    def __init__(self) -> None:
        self.families = tuple(all_families())
        self.accounts: dict[int, Account] = {}
        self.values: dict[int, Value] = {}
        self.sharing = [0] * len(self.families)  # accounts that share a value, by family
        self._blocks = [all_families()[name].block for name in self.families]
        self._family_numbers = {name: number for number, name in enumerate(self.families)}
        self._account_numbers: dict[str, int] = {}
        self._value_numbers: dict[Key, int] = {}
        self._next_account = self._next_value = 0

    def account(self, account_id: str, at_us: int) -> int:
        """The number of an account, which may be new."""
        number = self._account_numbers.get(account_id)
        if number is None:
            number = self._next_account
            self._next_account += 1
            self._account_numbers[account_id] = number
            self.accounts[number] = Account(account_id, at_us)
        return number

    def block_of(self, family: int) -> Block:
        return self._blocks[family]

    def find(self, account_id: str) -> int | None:
        return self._account_numbers.get(account_id)

    def value(self, key: Key) -> int | None:
        return self._value_numbers.get(key)

    def show(self, number: int, key: Key, at_us: int) -> int | None:
        """Note that the account shows the value; its number where that is new, else None.

        Families that this version does not know are passed over.
        """
        family = self._family_numbers.get(key.family)
        if family is None:
            return None
        value_number = self._value_numbers.get(key)
        if value_number is None:
            value_number = self._next_value
            self._next_value += 1
            self._value_numbers[key] = value_number
            self.values[value_number] = Value(key, family, self._blocks[family], at_us)
        value, account = self.values[value_number], self.accounts[number]
        value.last_us = max(value.last_us, at_us)
        account.last_us = max(account.last_us, at_us)
        if value_number in account.values:
            return None
        if len(value.holders) >= MAX_HOLDERS:  # a pool that takes up what is popular is seen
            self._withdraw(next(iter(value.holders)), value_number)
        self._make_room(number, value.block)
        account.values[value_number] = None
        value.holders[number] = None
        self._count_sharing(value)
        return value_number

    def forget_before(self, now_us: int) -> None:
        """Drop what is too old to matter."""
        for number, value in list(self.values.items()):
            age_us = now_us - value.last_us
            if age_us > (LONELY_KEPT_US if len(value.holders) < 2 else KEPT_US):
                for holder in list(value.holders):
                    self._withdraw(holder, number)
                del self.values[number], self._value_numbers[value.key]
        for number, account in list(self.accounts.items()):
            if not account.values and now_us - account.last_us > KEPT_US:
                self._uncount(account)
                del self.accounts[number], self._account_numbers[account.account_id]

    def records(self) -> Iterator[tuple[str, int, int, int | None, bool, list[tuple[str, str]]]]:
        """Every account with its keys, for a snapshot: `load` makes the same graph from them."""
        for account in self.accounts.values():
            keys = [self.values[number].key for number in account.values]
            yield (
                account.account_id,
                account.first_us,
                account.last_us,
                account.created_us,
                account.is_exempt,
                [(key.family, key.value) for key in keys],
            )

    def _make_room(self, number: int, block: Block) -> None:
        """The oldest value of the family that has most of them goes: questions, of which each
        conversation brings a new one, do not drive out the one set of tools."""
        values = self.values
        if len(self.accounts[number].values) < MAX_VALUES_PER_BLOCK:
            return
        shown = [v for v in self.accounts[number].values if values[v].block is block]
        if len(shown) >= MAX_VALUES_PER_BLOCK:
            counts = Counter([values[v].family for v in shown])
            most = max(counts, key=lambda family: (counts[family], -family))
            self._withdraw(number, next(v for v in shown if values[v].family == most))

    def _withdraw(self, number: int, value_number: int) -> None:
        self.accounts[number].values.pop(value_number, None)
        self.values[value_number].holders.pop(number, None)

    def _count_sharing(self, value: Value) -> None:
        """The second holder makes both sharers; each later one itself."""
        if len(value.holders) < 2:
            return
        bit = 1 << value.family
        late = [next(reversed(value.holders))]
        for number in value.holders if len(value.holders) == 2 else late:
            account = self.accounts[number]
            if not account.shares & bit:
                account.shares |= bit
                self.sharing[value.family] += 1

    def _uncount(self, account: Account) -> None:
        for family in range(len(self.families)):
            if account.shares >> family & 1:
                self.sharing[family] -= 1
