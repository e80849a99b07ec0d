"""From 403 to served: by mail with the vendor's SDK, by curl's JSON, by a provider's webhook."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from click.testing import CliRunner, Result

from gateway.cli import main

from .conftest import ask_admin, metric
from .verifying import Verifying, verifying

ACCOUNTS = 90


def key_of(number: int) -> str:
    return f"sk-verify-{number:04d}-0123456789"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, upstream: str) -> Iterator[Verifying]:
    accounts: list[dict[str, Any]] = [
        {"account_id": f"acc_v{number}", "keys": [key_of(number)]} for number in range(ACCOUNTS)
    ]
    folder = tmp_path_factory.mktemp("verifying")
    with verifying(folder, upstream, accounts, "--workers", "2") as one:
        yield one


@pytest.fixture(autouse=True)
def another_network(site: Verifying) -> None:
    """What one test asks for slows down no other."""
    site.address = f"198.51.100.{next(_networks)}"


_networks = iter(range(1, 255))
_taken = iter(range(ACCOUNTS))


@pytest.fixture
def key() -> str:
    """A key of an account that nobody has used."""
    return key_of(next(_taken))


def account_of(key: str) -> str:
    return f"acc_v{int(key.split('-')[2])}"


def form_of(page: str) -> str:
    found = re.search(r'name="form" value="([0-9a-f]{32})"', page)
    assert found is not None
    return found[1]


HTML = {"accept": "text/html"}


class TestMail:
    def test_an_sdk_user_reads_message_and_link_and_is_served_after_the_code(
        self, site: Verifying, key: str
    ) -> None:
        messages: Any = [{"role": "user", "content": "Hello"}]
        base_url = f"{site.public_url}/v1"
        with openai.OpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
            with pytest.raises(openai.PermissionDeniedError) as refused:
                client.chat.completions.create(model="small", messages=messages)
            text = str(refused.value)
            assert "Please confirm your mail address" in text
            assert "Required level: email" in text
            url = re.findall(r"https?://\S+/\.hydragate/verify/[\w.-]+", text)[0]
            assert url.startswith(f"{site.public_url}/.hydragate/verify/")
            site.ask("POST", f"{url}/email", {"email": "ada@example.org"})
            status, said, _ = site.ask("POST", f"{url}/code", {"code": site.mail.last_code()})
            assert (status, said["status"], said["code"]) == (200, "verified", "passed")
            for _ in range(6):  # on either worker, at once
                answer = client.chat.completions.create(model="small", messages=messages)
                assert answer.choices

    def test_the_state_is_told_and_survives_being_looked_at_again(
        self, site: Verifying, key: str
    ) -> None:
        url = site.link(key)
        _, said, _ = site.ask("GET", url)
        assert (said["status"], said["required_level"], said["verified_level"]) == (
            "waiting",
            "email",
            "none",
        )
        assert said["why"] == "Please confirm your mail address to use this API."
        site.ask("POST", f"{url}/email", {"email": "grace@example.org"})
        for _ in range(2):
            _, said, _ = site.ask("GET", url)
            assert said["steps"][0]["code_sent_to"] == "g…@example.org"
        _, page, _ = site.ask("GET", url, headers=HTML)
        assert "Sent to g…@example.org" in page

    def test_the_mailed_link_fills_the_code_in_and_passes_nothing_by_itself(
        self, site: Verifying, key: str
    ) -> None:
        url = site.link(key)
        site.ask("POST", f"{url}/email", {"email": "kay@example.org"})
        link = site.mail.last_link()
        assert link.startswith(site.public_url)
        status, page, _ = site.ask("GET", link, headers=HTML)
        assert status == 200
        assert f'value="{site.mail.last_code()}"' in page
        assert site.chat(key)[0] == 403
        form = {"form": form_of(page), "code": site.mail.last_code()}
        status, _, headers = site.ask("POST", f"{url}/code", urllib.parse.urlencode(form))
        assert (status, headers["location"]) == (303, f"{url}?said=passed")
        assert "You are verified" in site.ask("GET", headers["location"], headers=HTML)[1]
        assert site.chat(key)[0] == 200

    def test_a_code_works_once_for_one_account_and_not_after_five_wrong_ones(
        self, site: Verifying, key: str
    ) -> None:
        url = site.link(key)
        site.ask("POST", f"{url}/email", {"email": "joan@example.org"})
        code = site.mail.last_code()
        wrong = f"{(int(code) + 1) % 100_000_000:08d}"
        other = site.link(key_of(next(_taken)))
        assert site.ask("POST", f"{other}/code", {"code": code})[1]["code"] == "no_code"
        said = [site.ask("POST", f"{url}/code", {"code": wrong})[1]["code"] for _ in range(5)]
        assert said == ["wrong_code"] * 5
        assert site.ask("POST", f"{url}/code", {"code": code})[1]["code"] == "no_code"
        assert site.chat(key)[0] == 403

    def test_codes_are_slowed_by_account_and_by_destination(
        self, site: Verifying, key: str
    ) -> None:
        url = site.link(key)
        answers = [
            site.ask("POST", f"{url}/email", {"email": f"box{n}@example.org"}) for n in range(4)
        ]
        assert [status for status, _, _ in answers] == [200, 200, 200, 429]
        assert int(answers[3][2]["retry-after"]) >= 1
        others = [site.link(key_of(next(_taken))) for _ in range(4)]
        spellings = ("vic.tim+1@gmail.com", "victim+2@googlemail.com", "VICTIM@gmail.com")
        for other, address in zip(others, (*spellings, "v.i.c.t.i.m@gmail.com"), strict=True):
            status, _, _ = site.ask("POST", f"{other}/email", {"email": address})
            assert status == (429 if address.startswith("v.i") else 200)

    def test_one_mailbox_serves_two_accounts_and_reaching_for_more_is_kept(
        self, site: Verifying, key: str
    ) -> None:
        keys = [key, key_of(next(_taken)), key_of(next(_taken))]
        said = [
            site.pass_mail(one, f"shared+{n}@example.net")[1]["code"] for n, one in enumerate(keys)
        ]
        assert said == ["passed", "passed", "too_many_accounts"]
        assert [site.chat(one)[0] for one in keys] == [200, 200, 403]
        proofs = [
            ask_admin(site.server, "GET", f"/api/accounts/{account_of(one)}")[1]["proofs"]
            for one in keys
        ]
        assert proofs[0] == proofs[1] == proofs[2] != []
        assert "shared" not in str(proofs)

    def test_whoever_asks_for_many_accounts_is_slowed_by_network(self, site: Verifying) -> None:
        links = [site.link(key_of(ACCOUNTS - 10 + n)) for n in range(4)]
        said = [
            site.ask("POST", f"{links[n // 3]}/email", {"email": f"many{n}@example.org"})[0]
            for n in range(12)
        ]
        assert said == [200] * 10 + [429] * 2

    @pytest.mark.parametrize(
        ("address", "code"),
        [
            pytest.param("x@mailinator.com", "disposable_address", id="disposable"),
            pytest.param("x@sub.mailinator.com", "disposable_address", id="below disposable"),
            pytest.param("nobody", "bad_address", id="no address"),
            pytest.param("a@b.org\r\nBcc: c@d.org", "bad_address", id="header injection"),
            pytest.param("a@[127.0.0.1]", "bad_address", id="address literal"),
            pytest.param("a@b.org,c@d.org", "bad_address", id="two"),
            pytest.param("<a@b.org>", "bad_address", id="brackets"),
        ],
    )
    def test_addresses_that_confirm_nothing_are_refused_without_mail(
        self, site: Verifying, address: str, code: str
    ) -> None:
        before = len(site.mail.messages)
        url = site.link(key_of(ACCOUNTS - 1))
        status, said, _ = site.ask("POST", f"{url}/email", {"email": address})
        assert (status, said["code"]) == (400, code)
        assert len(site.mail.messages) == before

    def test_a_mail_server_that_refuses_is_told_and_nothing_is_lost(
        self, site: Verifying, key: str
    ) -> None:
        url = site.link(key)
        site.mail.refuses = True
        try:
            status, said, _ = site.ask("POST", f"{url}/email", {"email": "dorothy@example.org"})
        finally:
            site.mail.refuses = False
        assert (status, said["code"]) == (503, "mail_failed")
        name = "hydragate_verifications_total"
        assert metric(site.server, name, level="email", outcome="mail_failed") == 1
        assert site.ask("POST", f"{url}/email", {"email": "dorothy@example.org"})[0] == 200


class TestProvider:
    def start(self, site: Verifying, key: str) -> tuple[str, str]:
        """(link, session) of a visit to the provider."""
        url = site.link(key, "big")
        body = {"provider": "idcheck", "level": "identity"}
        status, said, _ = site.ask("POST", f"{url}/provider", body)
        assert status == 200, said
        query = urllib.parse.urlsplit(said["continue_at"]).query
        asked = urllib.parse.parse_qs(query)
        assert asked["back"] == [url]
        return url, asked["s"][0]

    def told(self, session: str, fingerprint: str | None, result: str = "passed") -> dict[str, Any]:
        return {
            "session": session,
            "level": "identity",
            "result": result,
            "fingerprint": fingerprint,
        }

    def test_a_signed_result_grants_once_however_often_it_is_told(
        self, site: Verifying, key: str
    ) -> None:
        url, session = self.start(site, key)
        outcomes = [site.tell(self.told(session, "person-1"))[1]["outcome"] for _ in range(3)]
        assert outcomes == ["passed", "duplicate", "duplicate"]
        assert site.chat(key, "big")[0] == 200
        assert site.ask("GET", url)[1]["status"] == "verified"
        _, account = ask_admin(site.server, "GET", f"/api/accounts/{account_of(key)}")
        assert [grant["level"] for grant in account["grants"]] == ["identity"]

    def test_one_person_serves_one_account(self, site: Verifying, key: str) -> None:
        for one, outcome in ((key, "passed"), (key_of(next(_taken)), "too_many_accounts")):
            _, session = self.start(site, one)
            assert site.tell(self.told(session, "person-2"))[1]["outcome"] == outcome

    def test_what_is_not_signed_fresh_and_of_a_session_grants_nothing(
        self, site: Verifying, key: str
    ) -> None:
        _, session = self.start(site, key)
        told = self.told(session, "person-3")
        assert site.tell(told, secret=b"another secret altogether")[1]["error"] == "bad_signature"
        assert site.tell(told, at_s=int(time.time()) - 301)[1]["error"] == "expired"
        assert site.tell(told, at_s=int(time.time()) + 400)[1]["error"] == "expired"
        forged = session[:-1] + ("0" if session[-1] != "0" else "1")
        assert site.tell(self.told(forged, "person-3"))[0] == 409
        assert site.tell(told | {"level": "phone"})[0] == 409
        assert site.tell(self.told(session, None))[1]["outcome"] == "failed"
        assert site.chat(key, "big")[0] == 403


class TestAbuse:
    def test_links_that_are_wrong_old_or_erased_are_told_apart_by_nobody(
        self, site: Verifying, key: str
    ) -> None:
        url = site.link(key)
        token = url.rpartition("/")[2]
        flipped = ("A" if token[0] != "A" else "B") + token[1:]
        ask_admin(site.server, "DELETE", f"/api/accounts/{account_of(key)}")
        answers = [
            site.ask("GET", f"{site.public_url}/.hydragate/verify/{one}")
            for one in (token, flipped, "x", "a" * 30 + "." + "0" * 32)
        ]
        assert len({(status, str(said)) for status, said, _ in answers}) == 1
        assert answers[0][0] == 404

    def test_another_origin_or_a_form_of_another_page_changes_nothing(
        self, site: Verifying, key: str
    ) -> None:
        url = site.link(key)
        other = site.ask("GET", site.link(key_of(ACCOUNTS - 2)), headers=HTML)[1]
        own = site.ask("GET", url, headers=HTML)[1]
        body = urllib.parse.urlencode({"form": form_of(own), "email": "eve@example.org"})
        before = len(site.mail.messages)
        for headers in (
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"sec-fetch-site": "cross-site"},
            {"origin": site.public_url, "sec-fetch-site": "same-site"},
        ):
            assert site.ask("POST", f"{url}/email", body, headers)[0] == 403
        stolen = urllib.parse.urlencode({"form": form_of(other), "email": "eve@example.org"})
        assert site.ask("POST", f"{url}/email", stolen)[0] == 403
        assert site.ask("POST", f"{url}/email", "email=eve%40example.org")[0] == 403
        plain = {"content-type": "text/plain"}
        assert site.ask("POST", f"{url}/email", b'{"email":"eve@example.org"}', plain)[0] == 415
        assert len(site.mail.messages) == before
        assert site.ask("POST", f"{url}/email", body, {"origin": site.public_url})[0] == 303

    def test_no_answer_repeats_what_the_request_calls_its_host(
        self, site: Verifying, key: str
    ) -> None:
        lies = {
            "host": "evil.example",
            "x-forwarded-host": "evil.example",
            "x-forwarded-proto": "gopher",
            "forwarded": "host=evil.example",
        }
        body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
        headers = lies | {"authorization": f"Bearer {key}"}
        status, said, _ = site.ask("POST", "http://x/v1/chat/completions", body, headers)
        assert status == 403
        url = said["error"]["verification_url"]
        assert url.startswith(site.public_url)
        _, told, _ = site.ask("GET", url, headers=lies)
        site.ask("POST", f"{url}/email", {"email": "host@example.org"}, lies)
        form = form_of(site.ask("GET", url, headers=HTML | lies)[1])
        code = urllib.parse.urlencode({"form": form, "code": site.mail.last_code()})
        _, _, moved = site.ask("POST", f"{url}/code", code, lies)
        for text in (told, site.mail.last_text(), moved["location"], site.mail.last_link()):
            assert "evil" not in str(text)
        assert moved["location"].startswith(site.public_url)

    @pytest.mark.parametrize("name", ["next", "return_url", "redirect", "said", "code"])
    def test_nothing_in_a_query_leads_elsewhere_or_into_the_page(
        self, site: Verifying, name: str
    ) -> None:
        url = site.link(key_of(ACCOUNTS - 3))
        lure = '"><script>alert(1)</script>//evil.example'
        query = urllib.parse.urlencode({name: lure})
        status, page, headers = site.ask("GET", f"{url}?{query}", headers=HTML)
        assert status == 200
        assert "evil" not in page
        assert "<script" not in page
        assert "location" not in headers

    def test_pages_may_not_be_framed_kept_or_scripted(self, site: Verifying) -> None:
        _, page, headers = site.ask("GET", site.link(key_of(ACCOUNTS - 4)), headers=HTML)
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert "set-cookie" not in headers
        assert "<script" not in page

    def test_oversized_and_malformed_bodies_are_refused(self, site: Verifying) -> None:
        url = f"{site.link(key_of(ACCOUNTS - 5))}/email"
        json_type = {"content-type": "application/json"}
        assert site.ask("POST", url, b"[" * 20_000, json_type)[0] == 413
        assert site.ask("POST", url, b"[" * 2_000, json_type)[0] == 400
        assert site.ask("POST", url, b'["email"]', json_type)[0] == 400
        assert site.ask("POST", url, "&".join(["a=1"] * 50))[0] == 400


class TestOrders:
    """What operators do by `hydragate verifications`, on the running gateway."""

    def run(self, site: Verifying, *words: str, by: str | None = "ines") -> Result:
        token = site.server.token_file
        order = ["--by", by, "--reason", "as agreed"] if by is not None else []
        admin = ["--admin", site.server.admin, "--token-file", str(token)]
        return CliRunner().invoke(main, ["verifications", *words, *order, *admin])

    def test_a_grant_holds_with_the_next_request_until_it_is_revoked(
        self, site: Verifying, key: str
    ) -> None:
        account = account_of(key)
        assert [site.chat(key)[0] for _ in range(4)] == [403] * 4
        assert self.run(site, "grant", account, "email").exit_code == 0
        assert [site.chat(key)[0] for _ in range(4)] == [200] * 4  # on either worker
        shown = json.loads(self.run(site, "show", account, by=None).stdout)
        assert [one["level"] for one in shown["grants"]] == ["email"]
        assert self.run(site, "revoke", account, "email").exit_code == 0
        assert [site.chat(key)[0] for _ in range(4)] == [403] * 4
        again = self.run(site, "revoke", account, "email")
        assert again.exit_code == 1
        assert "no such grant" in again.output

    def test_what_was_exported_is_given_back_once_with_its_place_at_the_mailbox(
        self, site: Verifying, key: str, tmp_path: Path
    ) -> None:
        account = account_of(key)
        assert site.pass_mail(key, "restored@example.org")[1]["code"] == "passed"
        lines = self.run(site, "export", by=None).stdout.splitlines()
        mine = [line for line in lines if json.loads(line)["account_id"] == account]
        assert len(mine) == 1
        assert "restored" not in mine[0]
        file = tmp_path / "grants.jsonl"
        file.write_text("\n".join([*mine, '{"account_id": "acc_nobody", "grants": []}']))
        body = {"account_id": account, "keys": [key]}
        ask_admin(site.server, "DELETE", f"/api/accounts/{account}")
        assert ask_admin(site.server, "PUT", f"/api/accounts/{account}", body)[0] < 300
        assert site.chat(key)[0] == 403
        first, second = (self.run(site, "import", str(file)) for _ in range(2))
        assert (first.exit_code, second.exit_code) == (1, 1)
        assert "1 grants given" in first.output
        assert "0 grants given" in second.output
        assert f"{file}:2: no such account: acc_nobody" in first.output
        assert site.chat(key)[0] == 200
        shown = json.loads(self.run(site, "show", account, by=None).stdout)
        assert list(shown["proofs"].values()) == [[account]]

    def test_each_order_is_in_the_audit_with_who_and_why(self, site: Verifying) -> None:
        path = site.server.token_file.with_name("audit.jsonl")
        said = [json.loads(line) for line in path.read_text().splitlines()]
        for action in ("verification.grant", "verification.revoke", "verification.import"):
            outcomes = [one for one in said if one["action"] == action]
            assert {one["by"] for one in outcomes} == {"ines"}
            assert {one["reason"] for one in outcomes} == {"as agreed"}
            assert outcomes[0]["outcome"] == "asked"

    @pytest.mark.parametrize(
        "path", ["/api/verifications", "/api/appeals", "/api/verifications/dead"]
    )
    def test_nobody_reads_without_the_token(self, site: Verifying, path: str) -> None:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(site.server.admin + path, timeout=10)


def test_steps_are_counted(site: Verifying) -> None:
    def count(**labels: str) -> float:
        return metric(site.server, "hydragate_verifications_total", **labels)

    assert count(level="email", outcome="asked") >= 5
    assert count(level="email", outcome="started") >= 1
    assert count(level="email", outcome="passed") >= 4
    assert count(level="identity", outcome="passed") == 2
    assert metric(site.server, "hydragate_verification_seconds_count", level="email") >= 4
    asks = metric(site.server, "hydragate_verification_asks_total", reason="mail-first")
    assert asks >= 5
