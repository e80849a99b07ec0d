"""`hydragate linker`: the linker as its own process."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import UsageError
from ..settings import LinkerConfig
from ..settings_file import load_settings

PATH = click.Path(path_type=Path)


@click.command()
@click.option("--store", help="The gateways' store: a redis://, valkey:// or rediss:// URL.")
@click.option("--secret-file", type=PATH, help="The secret of the gateways on that store.")
@click.option("--config", type=PATH, help="The gateways' settings; flags win over it.")
def linker(store: str | None, secret_file: Path | None, config: Path | None) -> None:
    """Link accounts beside gateways that do not (linker.run: false), or stand by.

    Of several on one store one leads. The gateways tell its metrics.
    """
    import uvloop

    from ..app import read_secret, secret_path
    from ..core.keyed import KeyedHash
    from ..linker_process import LinkerOrders, run
    from ..observe.process_log import set_up_logging

    # What only a gateway needs may be left to its flags, and is not looked at here.
    unused = {"policy": Path(), "upstreams": [{"url": "http://127.0.0.1"}]}
    settings = None if config is None else load_settings(config, unused)
    url = store or (None if settings is None else settings.store)
    if url is None or url == "embedded":
        raise UsageError(
            "--store: an embedded store is its gateway's, which links by itself; "
            "name a store that both reach"
        )
    if secret_file is None:
        if settings is None:
            raise UsageError("--secret-file: name the gateways' secret, or their --config")
        secret_file, _ = secret_path(settings)
    keyed = KeyedHash(read_secret(secret_file, may_create=False))
    set_up_logging("linker")
    orders = LinkerOrders(
        store_url=url,
        secret_fingerprint=keyed.fingerprint(),
        linker=LinkerConfig() if settings is None else settings.linker,
    )
    uvloop.run(run(orders, is_child=False))
