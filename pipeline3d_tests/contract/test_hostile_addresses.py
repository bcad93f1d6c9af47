"""Addresses that would make this service a way into the private network: all refused, none visited.

Every refusal is judged at both places: where a caller names the address (`check_address`, nothing is asked of
any network) and where it would be visited (`ask`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote

import pytest

from pipeline3d.errors import Pipeline3dError, RequestError, TransientFailure
from pipeline3d.outbound.addresses import check_address, resolve_public
from pipeline3d.outbound.asking import Limits, ask
from pipeline3d_tests.network_watch import watching
from pipeline3d_tests.servers import http_server

FORBIDDEN = [
    # this machine
    ("http://127.0.0.1/", "loopback"),
    ("http://127.8.9.10/", "all of 127/8 is loopback"),
    ("http://localhost/", "by name"),
    ("http://LOCALHOST/", "by name in capitals"),
    ("http://localhost./", "by name with the dot of the root"),
    ("http://anything.localhost/", "below the name"),
    ("http://localhost.localdomain/", "by the name in /etc/hosts"),
    ("http://0.0.0.0/", "unspecified: this machine on Linux"),
    ("http://0/", "the same, short"),
    ("http://[::]/", "the same in IPv6"),
    ("http://[::1]/", "loopback in IPv6"),
    ("http://[0:0:0:0:0:0:0:1]/", "written out"),
    # other spellings of loopback
    ("http://127.1/", "short form"),
    ("http://127.0.1/", "short form of three parts"),
    ("http://2130706433/", "one decimal number"),
    ("http://0x7f000001/", "one hexadecimal number"),
    ("http://017700000001/", "one octal number"),
    ("http://0x7f.0.0.1/", "a hexadecimal part"),
    ("http://0177.0.0.1/", "an octal part"),
    ("http://0177.0x0.0.0x1/", "mixed"),
    ("http://00000177.0.0.01/", "many zeros"),
    ("http://0127.0.0.1/", "octal for some programs, loopback for those that read decimal"),
    ("http://127.0.0.1./", "a dot at the end"),
    ("http://１２７.0.0.1/", "full-width digits"),
    ("http://①②⑦.⓪.⓪.①/", "circled digits"),
    ("http://127。0。0。1/", "ideographic dots"),
    ("http://ｌｏｃａｌｈｏｓｔ/", "full-width letters"),
    ("http://l\u00adocalhost/", "a soft hyphen that is not seen"),
    ("http://127.0.0.1#@example.com/", "some programs read the host after the @"),
    # private networks
    ("http://10.0.0.1/", "RFC 1918"),
    ("http://10.1/", "RFC 1918, short"),
    ("http://172.16.0.1/", "RFC 1918"),
    ("http://172.31.255.254/", "RFC 1918, its end"),
    ("http://192.168.1.1/", "RFC 1918"),
    ("http://0xc0a80101/", "RFC 1918 in hexadecimal"),
    ("http://100.64.0.1/", "behind a provider's translator"),
    ("http://198.18.0.1/", "benchmarks of networks"),
    ("http://192.0.2.1/", "documentation"),
    ("http://224.0.0.1/", "multicast"),
    ("http://239.255.255.250/", "multicast, discovery of devices"),
    ("http://240.0.0.1/", "reserved"),
    ("http://255.255.255.255/", "broadcast"),
    ("http://4294967295/", "broadcast as a number"),
    # where clouds keep credentials
    ("http://169.254.169.254/latest/meta-data/", "most clouds"),
    ("http://2852039166/latest/meta-data/", "the same as a number"),
    ("http://0251.0376.0251.0376/", "the same in octal"),
    ("http://169.254.170.2/v2/credentials", "containers"),
    ("http://100.100.100.200/latest/meta-data/", "another cloud"),
    ("http://192.0.0.192/latest/", "another cloud"),
    ("http://168.63.129.16/", "the host of a cloud's machines"),
    ("http://metadata.google.internal/computeMetadata/v1/", "by name"),
    ("http://metadata/computeMetadata/v1/", "by its short name"),
    ("http://instance-data/latest/meta-data/", "by name"),
    ("http://[fd00:ec2::254]/latest/meta-data/", "in IPv6"),
    # private IPv6, and IPv4 inside it
    ("http://[fe80::1]/", "link-local"),
    ("http://[fe80::1%25eth0]/", "with a zone"),
    ("http://[fe80::1%eth0]/", "with a zone, not encoded"),
    ("http://[fc00::1]/", "unique local"),
    ("http://[fec0::1]/", "site-local"),
    ("http://[ff02::1]/", "multicast"),
    ("http://[::ffff:127.0.0.1]/", "mapped"),
    ("http://[::ffff:7f00:1]/", "mapped, in hexadecimal"),
    ("http://[::ffff:0:127.0.0.1]/", "translated (SIIT)"),
    ("http://[::127.0.0.1]/", "compatible"),
    ("http://[2002:7f00:1::]/", "6to4"),
    ("http://[2002:a9fe:a9fe::1]/", "6to4 of the metadata address"),
    ("http://[2001:0:a9fe:a9fe::1]/", "Teredo"),
    ("http://[64:ff9b::7f00:1]/", "NAT64"),
    ("http://[64:ff9b:1::a00:1]/", "NAT64 of a private network"),
    ("http://[2600::5efe:10.0.0.1]/", "ISATAP"),
    ("http://[100::1]/", "thrown away"),
    ("http://[2001:db8::1]/", "documentation"),
    # names of a private network
    ("http://postgres/", "one label: only a private name server knows it"),
    ("http://minio:9000/", "one label with a port"),
    ("http://printer.local/", "the name of a device"),
    ("http://kubernetes.default.svc.cluster.local/", "a cluster's own"),
    ("http://vault.corp/", "a company's own"),
    ("http://nas.home.arpa/", "a home's own"),
    ("http://db.eu-west-1.compute.internal/", "a cloud's own"),
    # other services of public hosts
    ("http://example.com:22/", "SSH"),
    ("http://example.com:25/", "mail"),
    ("http://example.com:5432/", "Postgres"),
    ("http://example.com:6379/", "Redis, which takes commands from HTTP"),
    ("http://example.com:11211/", "memcached"),
]

INVALID = [
    ("", "nothing"),
    ("photo.jpg", "a file"),
    ("//example.com/a", "no scheme"),
    ("file:///etc/passwd", "a file of this machine"),
    ("FILE:///etc/passwd", "the same in capitals"),
    ("gopher://127.0.0.1:6379/_FLUSHALL", "a protocol that sends anything"),
    ("ftp://example.com/a", "another protocol"),
    ("dict://127.0.0.1:11211/stats", "another protocol"),
    ("data:image/png;base64,iVBORw0KGgo=", "no place at all"),
    ("javascript:alert(1)", "no place at all"),
    ("jar:http://example.com!/", "two schemes"),
    ("http:example.com", "no host"),
    ("http:///etc/passwd", "no host"),
    ("http://?a", "no host"),
    ("http://user:secret@example.com/", "credentials"),
    ("http://example.com@127.0.0.1/", "a host that is a user's name"),
    ("http://example.com\\@127.0.0.1/", "a backslash that some programs read as a slash"),
    ("http://127.0.0.1\\.example.com/", "a backslash"),
    ("http://exa mple.com/", "a blank"),
    (" http://127.0.0.1/", "a blank before it"),
    ("http://127.0.0.1\t/", "a tab that some programs take out"),
    ("ht\ntp://127.0.0.1/", "a line feed that some programs take out"),
    ("http://example.com/\r\nHost: 127.0.0.1", "a header inside"),
    ("http://example.com/\x00", "a zero byte"),
    ("http://%31%32%37.0.0.1/", "an encoded host"),
    ("http://127.0.0.1%2f@example.com/", "an encoded slash"),
    ("http://127.0.0.1%00.example.com/", "an encoded zero byte"),
    ("http://example.com:0/", "a port that is none"),
    ("http://example.com:65536/", "a port that is none"),
    ("http://example.com:-80/", "a port that is none"),
    ("http://example.com:８０８０/", "a port in other digits"),
    ("http://example.com:80a/", "a port that is none"),
    ("http://[::1/", "half a bracket"),
    ("http://::1/", "no brackets"),
    ("http://[127.0.0.1]/", "IPv4 in brackets"),
    ("http://[v1.fe80::1]/", "an address of the future"),
    ("http://256.256.256.256/", "no address"),
    ("http://1.2.3.4.5/", "five parts"),
    ("http://4294967296/", "more than there are"),
    ("http://0x1ffffffff/", "more than there are"),
    ("http://127.0.0.09/", "neither octal nor decimal"),
    ("http://example..com/", "an empty label"),
    ("http://./", "only a dot"),
    ("http://-example.com/", "a dash at the front"),
    (f"http://{'a' * 64}.com/", "a label that is too long"),
    (f"http://example.com/{'a' * 2048}", "too long"),
    ("http://xn--\u00e4.com/", "not punycode"),
    ("http://example.com\u2044@127.0.0.1/", "a slash of another script"),
    ("http://example.com\uff0f.evil.com/", "a full-width slash"),
    ("http://exa\ud800mple.com/", "half a character"),
    ("http://ex\u202eample.com/", "a mark that turns the direction"),
]

ALL = [(url, "address_forbidden") for url, _ in FORBIDDEN] + [(url, "address_invalid") for url, _ in INVALID]


def test_there_are_enough_rows_and_none_twice():
    assert len(ALL) >= 60
    assert len({url for url, _ in ALL}) == len(ALL)


@pytest.mark.parametrize(("url", "code"), ALL, ids=[ascii(url)[:60] for url, _ in ALL])
def test_a_hostile_address_is_refused_without_a_connection_or_a_question(url, code):
    for visit in (check_address, lambda url: ask("GET", url), lambda url: ask("POST", url, body=b"x")):
        with watching() as watched, pytest.raises(RequestError) as caught:
            visit(url)
        assert caught.value.code == code
        assert watched.connections == []
        assert watched.names == []


@pytest.mark.parametrize("url", [url for url, _ in ALL if "secret" in url])
def test_a_refusal_does_not_repeat_a_password(url):
    with pytest.raises(RequestError) as caught:
        check_address(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("https://example.com/a.png?b=c#d", "https://example.com/a.png?b=c#d"),
        ("HTTPS://Example.COM./a", "https://example.com/a"),
        ("https://example.com:443/a", "https://example.com/a"),
        ("http://example.com:8080/a", "http://example.com:8080/a"),
        ("https://bücher.example.com/ü", "https://xn--bcher-kva.example.com/ü"),
        ("http://93.184.216.34/", "http://93.184.216.34/"),
        ("http://0x5db8d822/", "http://93.184.216.34/"),
        ("http://[2606:2800:220:1:248:1893:25C8:1946]/", "http://[2606:2800:220:1:248:1893:25c8:1946]/"),
        ("http://[::ffff:93.184.216.34]/", "http://[::ffff:5db8:d822]/"),
        ("https://a_b.example.com/", "https://a_b.example.com/"),
        ("https://10.example.com/", "https://10.example.com/"),
        ("https://1.2.3.4.example.com/", "https://1.2.3.4.example.com/"),
    ],
)
def test_an_honest_address_is_accepted_in_its_plain_spelling(url, plain):
    assert check_address(url).geturl() == plain


# --- names that lead into the private network


@contextmanager
def answering_names(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> Iterator[list[str]]:
    """A name server that gives these answers, one after another, the last one for ever."""
    asked: list[str] = []

    def answer(host: str, port: int, **_: object) -> list[tuple]:
        asked.append(host)
        addresses = answers[min(len(asked), len(answers)) - 1]
        return [(10 if ":" in address else 2, 1, 6, "", (address, port)) for address in addresses]

    with monkeypatch.context() as patched:
        patched.setattr("socket.getaddrinfo", answer)
        yield asked


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.7"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:10.0.0.7"],
        ["fe80::1%2"],
        ["fd00:ec2::254"],
        ["93.184.216.34", "10.0.0.7"],  # one of them is enough
        ["2606:2800:220:1:248:1893:25c8:1946", "127.0.0.1"],
    ],
)
def test_a_name_that_leads_into_the_private_network_is_refused_without_a_connection(monkeypatch, addresses):
    with (
        answering_names(monkeypatch, addresses),
        watching() as watched,
        pytest.raises(RequestError) as caught,
    ):
        ask("GET", "http://two-faces.example.com/")
    assert caught.value.code == "address_forbidden"
    assert watched.connections == []


def test_the_connection_goes_to_the_address_that_was_checked_and_the_name_is_asked_once(monkeypatch):
    """A name server that answers differently the second time (DNS rebinding) is not asked a second time."""
    with (
        answering_names(monkeypatch, ["93.184.216.34"], ["127.0.0.1"]) as asked,
        watching() as watched,
        pytest.raises(TransientFailure) as caught,
    ):
        ask("GET", "http://rebinding.example.com/")
    assert caught.value.code == "address_unreachable"
    assert asked == ["rebinding.example.com"]
    assert watched.connections == [("93.184.216.34", 80)]


def test_a_name_that_nobody_knows_may_be_known_later(monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError("no such name")

    monkeypatch.setattr("socket.getaddrinfo", fail)
    with pytest.raises(TransientFailure):
        resolve_public("nowhere.example.com", 80)


# --- redirects


class Forwarding(BaseHTTPRequestHandler):
    """Redirects to what its path names; anything else is a secret that nobody may reach."""

    reached: list[str]

    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", unquote(self.path[4:]))
            self.end_headers()
            return
        self.reached.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"the secret of the private network")


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("http://localhost:{port}/secret", "address_forbidden"),
        ("http://127.1:{port}/secret", "address_forbidden"),
        ("http://[::1]:{port}/secret", "address_forbidden"),
        ("http://[::ffff:127.0.0.2]:{port}/secret", "address_forbidden"),
        ("http://169.254.169.254/latest/meta-data/", "address_forbidden"),
        ("//localhost:{port}/secret", "address_forbidden"),
        ("file:///etc/passwd", "address_invalid"),
        ("gopher://127.0.0.1:{port}/_secret", "address_invalid"),
        ("http://user:secret@127.0.0.1:{port}/secret", "address_invalid"),
    ],
)
def test_a_redirect_into_the_private_network_is_not_followed(place, code):
    """The first host is allowed by the operator, so the way there is a real one; the next is judged anew."""
    handler = type("Handler", (Forwarding,), {"reached": []})
    with http_server(handler) as server:
        port = server.rpartition(":")[2]
        allowed = {"127.0.0.1"} if "127.1" not in place else {"localhost"}
        start = server.replace("127.0.0.1", next(iter(allowed)))
        target = place.format(port=port)
        with watching(reachable={"127.0.0.1", "::1"}) as watched, pytest.raises(Pipeline3dError) as caught:
            ask("GET", f"{start}/to/{target}", allowed_hosts=allowed, limits=Limits(redirects=3))
    assert caught.value.code == code
    assert "secret of" not in str(caught.value)
    assert len(watched.connections) <= 2  # where localhost has two addresses
    assert handler.reached == []


def test_a_webhook_does_not_follow_redirects_at_all():
    handler = type("Handler", (Forwarding,), {"reached": []})
    with http_server(handler) as server:
        answer = ask("GET", f"{server}/to//secret", allowed_hosts={"127.0.0.1"})
    assert (answer.status, handler.reached) == (302, [])
