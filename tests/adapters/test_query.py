"""What counts as a key in a URL."""

from __future__ import annotations

import pytest

from gateway.adapters.query import check_query
from gateway.errors import RequestError


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(b"key=sk-1", id="as Gemini's early clients"),
        pytest.param(b"beta=true&key=sk-1", id="not the first"),
        pytest.param(b"beta=true;key=sk-1", id="behind a semicolon"),
        pytest.param(b"%6Bey=sk-1", id="escaped"),
        pytest.param(b"Key=sk-1", id="in capitals"),
        pytest.param(b"+key+=sk-1", id="between spaces"),
        pytest.param(b"key", id="without a value"),
        pytest.param(b"access_token=t", id="RFC 6750"),
        pytest.param(b"api%2Dkey=t", id="api-key"),
        pytest.param(b"subscription-key=t", id="Azure API Management"),
    ],
)
def test_a_key_in_the_query_is_refused(query: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        check_query(query)
    assert (caught.value.status, caught.value.reason) == (400, "credential_in_query")
    assert "sk-1" not in caught.value.message


@pytest.mark.parametrize(
    "query",
    [b"beta=true", b"limit=20&after=key", b"metadata[key]=a", b"monkey=1", b"&&", b"%zz=%"],
)
def test_what_is_no_key_passes(query: bytes) -> None:
    check_query(query)
