"""A gateway whose policy asks for verification, with a mail server and a provider's secret."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gateway.loadtests.processes import GatewayProcess, gateway
from gateway.loadtests.servers.ports import free_port

from .conftest import write_accounts, write_policy
from .mailbox import Mailbox, mailbox

ASKING = """
version: 1
name: asking
mode: enforce
unknown_credentials: refuse
on_store_error: deny
rules:
  - name: mail-first
    why: every account of these tests begins without anything verified
    when: {verification: {below: email}}
    then: {verify: email, expires: 90d}
    message: Please confirm your mail address to use this API.
  - name: person-for-big
    why: the larger model asks for a person behind the account
    when: {verification: {below: identity}, model: big}
    on_unknown: no_match
    then: {verify: identity}
    message: Please confirm your identity to use this model.
"""
PROVIDER_SECRET = b"a provider's secret of some length"


@dataclass
class Verifying:
    server: GatewayProcess
    mail: Mailbox
    public_url: str
    address: str = "198.51.100.1"  # as a trusted proxy in front tells it

    def ask(
        self,
        method: str,
        url: str,
        body: object | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any, dict[str, str]]:
        """(status, JSON or text, headers); no redirect is followed. A dict is sent as JSON, a
        string as a form."""
        parts = urllib.parse.urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        sent = {"x-forwarded-for": self.address} | (headers or {})
        data: bytes | None = None
        if isinstance(body, bytes):
            data = body
        elif isinstance(body, str):
            data = body.encode()
            sent.setdefault("content-type", "application/x-www-form-urlencoded")
        elif body is not None:
            data = json.dumps(body).encode()
            sent.setdefault("content-type", "application/json")
        where = urllib.parse.urlsplit(self.server.url)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=15)
        try:
            connection.request(method, target, data, sent)
            answer = connection.getresponse()
            text = answer.read().decode()
            found = {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()
        is_json = found.get("content-type", "").startswith("application/json")
        return answer.status, json.loads(text) if is_json and text else text, found

    def chat(self, key: str, model: str = "small") -> tuple[int, Any, dict[str, str]]:
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
        url = f"{self.public_url}/v1/chat/completions"
        return self.ask("POST", url, body, {"authorization": f"Bearer {key}"})

    def link(self, key: str, model: str = "small") -> str:
        status, said, _ = self.chat(key, model)
        assert status == 403, said
        url: str = said["error"]["verification_url"]
        return url

    def pass_mail(self, key: str, address: str) -> tuple[int, Any, dict[str, str]]:
        """From the refusal to the answer to the code, as curl would."""
        url = self.link(key)
        status, said, _ = self.ask("POST", f"{url}/email", {"email": address})
        assert (status, said["code"]) == (200, "code_sent"), said
        return self.ask("POST", f"{url}/code", {"code": self.mail.last_code()})

    def tell(
        self, told: dict[str, Any], *, secret: bytes = PROVIDER_SECRET, at_s: int | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        """A provider's webhook."""
        body = json.dumps(told).encode()
        at = str(int(time.time()) if at_s is None else at_s)
        mac = hmac.new(secret, at.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers = {
            "hydragate-timestamp": at,
            "hydragate-signature": f"v1={mac}",
            "content-type": "application/json",
        }
        return self.ask("POST", f"{self.public_url}/.hydragate/webhooks/idcheck", body, headers)


@contextmanager
def verifying(
    folder: Path,
    upstream: str,
    accounts: list[dict[str, Any]],
    *options: str,
    policy: str = ASKING,
    **settings: Any,
) -> Iterator[Verifying]:
    folder.mkdir(parents=True, exist_ok=True)
    secret = folder / "provider-secret"
    secret.write_bytes(PROVIDER_SECRET)
    secret.chmod(0o600)
    port = free_port()
    public_url = f"http://127.0.0.1:{port}"
    with mailbox() as mail:
        config = {
            "trusted_proxies": ["127.0.0.1/32"],
            "verification": {
                "public_url": public_url,
                "service_name": "Example API",
                "smtp": {
                    "host": "127.0.0.1",
                    "port": mail.port,
                    "tls": "none",
                    "sender": "verify@example.org",
                },
                "providers": [
                    {
                        "name": "idcheck",
                        "title": "ID Check",
                        "levels": ["identity", "phone"],
                        "start_url": "https://id.example.org/start?s={session}&back={return_url}",
                        "secret_file": str(secret),
                    }
                ],
                "max_accounts": {"email": 2, "identity": 1},
                **settings,
            },
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        with gateway(
            folder / "data",
            *("--config", str(folder / "config.yaml"), "--port", str(port)),
            *("--upstream", upstream, "--policy", str(write_policy(folder / "policy", policy))),
            *("--accounts", str(write_accounts(folder / "accounts.jsonl", accounts))),
            *options,
        ) as server:
            yield Verifying(server, mail, public_url)
