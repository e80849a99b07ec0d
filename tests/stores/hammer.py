"""One of several processes that charge the same keys: prints how many charges passed.

Run: python -m tests.stores.hammer URL PREFIX CHARGES
"""

from __future__ import annotations

import asyncio
import os
import sys

from gateway.stores import open_store

from .steps import charge, gcra, lease


async def main(url: str, prefix: str, charges: int) -> int:
    store = await open_store(url, secret_fingerprint="0", prefix=prefix, timeout_s=10.0)
    steps = gcra(cost=1), gcra(tag="o:org_1"), lease(most=1000)
    passed = 0
    try:
        for turn in range(charges // 20):
            replies = await asyncio.gather(
                *(
                    store.charge(charge(*steps, now_us=None, lease_id=f"{os.getpid()}-{turn}-{n}"))
                    for n in range(20)
                )
            )
            passed += sum(reply.applied for reply in replies)
    finally:
        await store.aclose()
    return passed


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
