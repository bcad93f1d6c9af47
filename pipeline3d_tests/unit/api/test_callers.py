"""What a connection says of its caller: tables of headers, with the reason for each row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from pipeline3d.api.callers import (
    CredentialKind,
    client_address,
    find_credential,
    is_same_origin,
    is_secure,
    throttled_address,
)
from pipeline3d.settings import Settings

KEY, SESSION = CredentialKind.KEY, CredentialKind.SESSION


def connection(peer="198.51.100.9", scheme="http", **headers):
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return HTTPConnection(
        {
            "type": "http",
            "scheme": scheme,
            "path": "/",
            "query_string": b"",
            "server": ("127.0.0.1", 80),
            "client": (peer, 1234),
            "headers": raw,
        }
    )


def settings(**values):
    return Settings(_env_file=None, **values)


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, None),
        ({"x_api_key": ""}, None),
        ({"x_api_key": "k"}, (KEY, "k")),
        ({"authorization": "Bearer k"}, (KEY, "k")),
        ({"authorization": "BEARER   k "}, (KEY, "k")),
        ({"authorization": "Bearer"}, None),
        ({"authorization": "Basic k"}, None),  # somebody else's
        ({"cookie": "a=b; p3d_session=s"}, (SESSION, "s")),
        ({"cookie": "p3d_session="}, None),
        ({"x_api_key": "k", "authorization": "Bearer b", "cookie": "p3d_session=s"}, (KEY, "k")),
        ({"authorization": "Bearer b", "cookie": "p3d_session=s"}, (KEY, "b")),
        ({"x_api_key": "", "cookie": "p3d_session=s"}, (SESSION, "s")),
    ],
)
def test_of_several_credentials_the_first_counts(headers, found):
    credential = find_credential(connection(**headers))
    assert (credential and (credential.kind, credential.secret)) == found
    assert credential is None or "secret" not in repr(credential)


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "address"),
    [
        ([], "198.51.100.9", "203.0.113.1", "198.51.100.9"),  # nobody is trusted
        (["10.0.0.0/8"], "198.51.100.9", "203.0.113.1", "198.51.100.9"),  # the peer is not
        (["10.0.0.0/8"], "10.1.2.3", "203.0.113.1", "203.0.113.1"),
        (["10.0.0.0/8"], "10.1.2.3", "1.1.1.1, 203.0.113.1", "203.0.113.1"),  # the first is made up
        (["10.0.0.0/8"], "10.1.2.3", "203.0.113.1, 10.9.9.9", "203.0.113.1"),  # two proxies in a row
        (["10.0.0.0/8"], "10.1.2.3", "10.9.9.9", "10.9.9.9"),  # somebody in the private network
        (["10.0.0.0/8"], "10.1.2.3", "", "10.1.2.3"),
        (["10.0.0.0/8"], "10.1.2.3", "unknown", "10.1.2.3"),
        (["10.0.0.0/8"], "10.1.2.3", "203.0.113.1, nonsense", "10.1.2.3"),
        (["::1"], "::1", "2001:db8::5", "2001:db8::5"),
    ],
)
def test_an_address_is_believed_of_a_trusted_proxy_only(trusted, peer, forwarded, address):
    asking = connection(peer, x_forwarded_for=forwarded)
    assert client_address(asking, settings(trusted_proxies=trusted)) == address


@given(st.text(st.characters(max_codepoint=255), max_size=60))
def test_whatever_is_forwarded_gives_an_address_or_the_peer(forwarded):
    trusting = settings(trusted_proxies=["0.0.0.0/0", "::/0"])
    address = client_address(connection("10.1.2.3", x_forwarded_for=forwarded), trusting)
    assert throttled_address(address)
    assert address == "10.1.2.3" or address in forwarded


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.1", "203.0.113.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.1", "203.0.113.1"),
        ("", ""),
        ("a socket of unix", "a socket of unix"),
    ],
)
def test_attempts_count_for_an_ipv4_address_or_an_ipv6_site(address, counted):
    assert throttled_address(address) == counted


@pytest.mark.parametrize(
    ("asking", "values", "secure"),
    [
        (connection(scheme="https"), {}, True),
        (connection(), {}, False),
        (connection(), {"api_url": "https://3d.example.com"}, True),
        (connection(x_forwarded_proto="https"), {}, False),  # anybody can say so
        (connection(x_forwarded_proto="https"), {"trusted_proxies": ["198.51.100.9"]}, True),
        (connection(x_forwarded_proto="http, https"), {"trusted_proxies": ["198.51.100.9"]}, False),
    ],
)
def test_https_is_what_the_socket_a_trusted_proxy_or_the_address_says(asking, values, secure):
    assert is_secure(asking, settings(**values)) is secure


@pytest.mark.parametrize(
    ("headers", "values", "same"),
    [
        ({}, {}, None),
        ({"sec_fetch_site": "same-origin"}, {}, True),
        ({"sec_fetch_site": "cross-site"}, {}, False),
        ({"sec_fetch_site": "none"}, {}, False),
        ({"origin": "http://3d.example.com", "host": "3d.example.com"}, {}, True),
        ({"origin": "http://3D.example.com:80", "host": "3d.example.com"}, {}, True),
        ({"origin": "http://3d.example.com:81", "host": "3d.example.com"}, {}, False),
        (
            {"origin": "https://3d.example.com", "host": "api:8000"},
            {"api_url": "https://3d.example.com"},
            True,
        ),
        ({"origin": "https://evil.example.com", "host": "api:8000"}, {}, False),
        ({"origin": "null", "host": "api:8000"}, {}, False),
        ({"origin": "http://[", "host": "api:8000"}, {}, False),
        ({"origin": "http://x:99999", "host": "x:99999"}, {}, False),
        ({"origin": "", "host": ""}, {}, False),
    ],
)
def test_a_page_is_ours_where_its_browser_says_so(headers, values, same):
    assert is_same_origin(connection(**headers), settings(**values)) is same
