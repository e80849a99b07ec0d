"""Credentials in a URL: refused, because whoever decides must be whoever is charged.

A model API that takes its key from the query as well would serve a request under another key than
the one decided on here, past `api_key_file` too. Read as a credential instead, it would lie in the
access log of every hop, and each parser has its own idea of a name that comes twice.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from ..errors import RequestError

# Google's APIs take key, access_token and oauth_token, RFC 6750 §2.3 access_token, Azure API
# Management subscription-key; the rest are the spellings of our own credential headers.
CREDENTIAL_NAMES = frozenset(
    {
        b"access_token",
        b"api-key",
        b"api_key",
        b"apikey",
        b"authorization",
        b"key",
        b"oauth_token",
        b"subscription-key",
        b"x-api-key",
        b"x-goog-api-key",
    }
)


def check_query(query: bytes) -> None:
    """Refuse a query with a field that model APIs take for a key, however it is spelled.

    `;` separates fields for some parsers, so it does here. A field of an object, such as
    `metadata[key]`, is none. Raises RequestError 400 `credential_in_query`.
    """
    for field in query.replace(b";", b"&").split(b"&"):
        name = unquote_to_bytes(field.partition(b"=")[0].replace(b"+", b" "))
        if name.strip().lower() in CREDENTIAL_NAMES:
            raise RequestError(
                400,
                "credential_in_query",
                "Send the API key in a header, such as Authorization or x-goog-api-key: "
                "keys in a URL are not accepted.",
            )
