"""In processes of their own: pytest has the output of this one."""

import subprocess
import sys
import textwrap

import pytest

PREAMBLE = """
import os, sys, subprocess, threading, multiprocessing
from pathlib import Path
from pipeline3d.launch.output_capture import capture_output
out, err = Path("out"), Path("err")
"""


@pytest.fixture
def run_script(tmp_path):
    def run(body, **options):
        return subprocess.run(
            [sys.executable, "-c", PREAMBLE + textwrap.dedent(body)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"},
            **options,
        )

    return run


def test_what_is_written_inside_goes_to_the_files_and_the_rest_stays_outside(run_script, tmp_path):
    done = run_script("""
        print("before"); print("before", file=sys.stderr)
        with capture_output(out, err) as captured:
            assert captured
            print("inside"); print("trouble", file=sys.stderr)
        print("after"); print("after", file=sys.stderr)
    """)
    assert (tmp_path / "out").read_text() == "inside\n"
    assert (tmp_path / "err").read_text() == "trouble\n"
    assert (done.stdout, done.stderr) == ("before\nafter\n", "before\nafter\n")


def test_children_and_c_code_are_captured_too(run_script, tmp_path):
    done = run_script("""
        import ctypes
        with capture_output(out, err):
            subprocess.run(["sh", "-c", "echo from a child; echo child trouble >&2"], check=True)
            ctypes.CDLL(None).printf(b"from C\\n")
            os.write(1, b"from the descriptor\\n")
    """)
    assert sorted((tmp_path / "out").read_text().splitlines()) == [
        "from C",
        "from a child",
        "from the descriptor",
    ]
    assert (tmp_path / "err").read_text() == "child trouble\n"
    assert done.stdout == done.stderr == ""


def test_a_line_is_in_the_file_as_soon_as_it_is_printed(run_script):
    run_script("""
        with capture_output(out, err):
            print("growing")
            assert out.read_text() == "growing\\n"
        assert not sys.stdout.line_buffering
    """)


def test_an_error_inside_passes_and_the_output_is_restored(run_script, tmp_path):
    done = run_script("""
        try:
            with capture_output(out, err):
                print("inside", end="")
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            print("passed")
    """)
    assert done.stdout == "passed\n"
    assert (tmp_path / "out").read_text() == "inside"


def test_a_capture_inside_a_capture_changes_nothing(run_script, tmp_path):
    run_script("""
        with capture_output(out, err):
            with capture_output(Path("other"), Path("other")) as captured:
                assert not captured
                print("still the first")
            print("and on")
        with capture_output(out, err) as captured:
            assert captured
    """)
    assert (tmp_path / "out").read_text() == "still the first\nand on\n"
    assert not (tmp_path / "other").exists()


def test_a_file_that_cannot_be_opened_leaves_the_output_alone(run_script):
    done = run_script("""
        for paths in ((Path("missing/out"), err), (out, Path("missing/err"))):
            try:
                with capture_output(*paths):
                    raise SystemExit("not reached")
            except FileNotFoundError:
                print("as before")
        with capture_output(out, err) as captured:
            assert captured
    """)
    assert done.stdout == "as before\nas before\n"


def test_no_descriptor_is_left_open(run_script):
    run_script("""
        def opened():
            return len(os.listdir("/proc/self/fd"))
        before = opened()
        for _ in range(20):
            with capture_output(out, err):
                print("x")
        assert opened() == before
    """)


def test_a_replaced_output_is_left_as_it_is(run_script, tmp_path):
    run_script("""
        import io
        sys.stdout = io.StringIO()
        with capture_output(out, err):
            print("kept")
            os.write(1, b"captured")
        assert sys.stdout.getvalue() == "kept\\n"
    """)
    assert (tmp_path / "out").read_text() == "captured"
