import os

import pytest

from pipeline3d.local.privileges import choose_user, may_enter

OWNER, GROUP, OTHER = 1000, 2000, 4242


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "enters"),
    [
        (0o700, OWNER, OTHER, True),
        (0o700, OTHER, OTHER, False),  # the owner's alone
        (0o711, OTHER, OTHER, True),  # everybody may pass
        (0o710, OTHER, GROUP, True),
        (0o710, OTHER, OTHER, False),
        (0o677, OWNER, GROUP, False),  # the owner's bits decide for the owner, however open the rest is
        (0o701, OTHER, GROUP, False),  # and the group's for the group
    ],
)
def test_permission_bits_decide_who_may_enter_a_folder(mode, uid, gid, enters):
    facts = os.stat_result((mode, 0, 0, 0, OWNER, GROUP, 0, 0, 0, 0))
    assert may_enter(uid, gid, facts) is enters


def test_an_ordinary_user_stays_who_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert choose_user(tmp_path, tmp_path) is None
