"""An address is one of the public internet, or it is not."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline3d.outbound.networks import is_public


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),  # behind a provider's translator
        ("169.254.169.254", False),  # where clouds keep credentials
        ("224.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:0a00:0001::1", False),  # 10.0.0.1 in 6to4
        ("2002:5db8:d822::1", True),  # and a public one
        ("64:ff9b::10.0.0.1", False),  # and behind NAT64
        ("64:ff9b::93.184.216.34", True),
        ("64:ff9b:1::93.184.216.34", False),  # a translator of somebody's own network
        ("fd00::1", False),
        ("fe80::1%eth0", False),
        ("2606::1%eth0", False),  # a zone is never public
    ],
)
def test_an_address_is_public_or_it_is_not(address, public):
    assert is_public(address) is public


@given(st.integers(0, 2**32 - 1))
def test_a_private_address_stays_private_inside_ipv6(number):
    inner = IPv4Address(number)
    spellings = [
        IPv6Address(0xFFFF_0000_0000 | number),
        IPv6Address((0x64_FF9B << 96) | number),
        IPv6Address((0x2002 << 112) | (number << 80)),
    ]
    for spelling in spellings:
        assert is_public(str(spelling)) is is_public(str(inner))


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_public(address):
    if is_public(str(address)):
        assert not address.is_private
        assert not address.is_multicast
        assert not address.is_loopback
