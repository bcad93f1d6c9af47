"""Any text is an address that may be visited, or is refused with one of two codes."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline3d.errors import ForbiddenAddress, InvalidAddress
from pipeline3d.outbound.addresses import check_address, is_public, port_of, show_address

_hosts = st.text(st.sampled_from("0123456789abcdefxX.:[]%@-_ａ。"), max_size=24)


@given(st.one_of(st.text(max_size=80), st.builds("http://{}/".format, _hosts)))
def test_what_is_accepted_is_accepted_again_as_it_is(url):
    with suppress(InvalidAddress, ForbiddenAddress):
        parts = check_address(url)
        again = check_address(parts.geturl())
        assert (again.scheme, again.netloc) == (parts.scheme, parts.netloc)
        assert urlsplit(parts.geturl()).hostname == parts.hostname
        with suppress(ValueError):
            assert is_public(parts.hostname or "")


@given(st.text(max_size=80))
def test_any_text_can_be_shown(url):
    assert len(show_address(url)) <= 201


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.com/a?X-Amz-Signature=secret", "https://example.com/a"),
        ("https://user:secret@example.com/a", "https://example.com/a"),
        ("https://user:se@cret@example.com/a", "https://example.com/a"),
        ("user:secret@example.com", "example.com"),
        ("https://example.com/#token=secret", "https://example.com/"),
        ("https://example.com/a\x1b[31m", "https://example.com/a�[31m"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url, shown):
    assert show_address(url) == shown


def test_the_operator_may_allow_a_private_host_on_any_port():
    assert port_of(check_address("http://minio:9200/a", allowed_hosts={"minio"})) == 9200
    with pytest.raises(ForbiddenAddress):
        check_address("http://minio:9200/a", allowed_hosts={"other"})


def test_the_caller_of_the_guard_says_which_schemes_and_ports_are_taken():
    with pytest.raises(InvalidAddress):
        check_address("http://example.com/", schemes=("https",))
    with pytest.raises(ForbiddenAddress):
        check_address("https://example.com:8443/", forbidden_ports=(8443,))
