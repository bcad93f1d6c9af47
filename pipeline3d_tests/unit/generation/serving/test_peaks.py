"""What was measured of models outlives processes; damage to the file costs the measurements only."""

import multiprocessing

import pytest

from pipeline3d.generation.serving.peaks import Learned, PeakBook


def test_the_highest_peak_counts_and_outlives_the_process(tmp_path):
    path = tmp_path / "a" / "peaks.json"
    book = PeakBook(path)
    for peak in (5, 9, 7):
        book.note("m", peak_bytes=peak)
    book.note("m", load_s=1.5)
    assert book.of("m") == PeakBook(path).of("m") == Learned(peak_bytes=9, load_s=1.5)
    assert PeakBook(path).of("another") == Learned()


def test_a_book_without_a_file_remembers_while_it_lives():
    book = PeakBook()
    book.note("m", peak_bytes=5)
    book.note("n", load_s=2)
    assert (book.of("m"), book.of("n")) == (Learned(peak_bytes=5), Learned(load_s=2))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"m": 1}',
        '{"m": {"peak_bytes": "9"}}',
        '{"m": {"peak_bytes": -1}}',
        "\0",
    ],
)
def test_a_damaged_book_is_begun_anew(tmp_path, text):
    path = tmp_path / "peaks.json"
    path.write_text(text)
    book = PeakBook(path)
    assert book.of("m") == Learned()
    book.note("m", peak_bytes=3)
    assert PeakBook(path).of("m") == Learned(peak_bytes=3)


def test_a_book_that_cannot_be_written_still_remembers(tmp_path):
    (tmp_path / "file").touch()
    book = PeakBook(tmp_path / "file" / "peaks.json")
    book.note("m", peak_bytes=3)
    assert book.of("m").peak_bytes == 3


def _note(path, number) -> None:
    for peak in range(20):
        PeakBook(path).note(f"m{number}", peak_bytes=peak + 1)


def test_processes_that_write_at_once_lose_nothing(tmp_path):
    path = tmp_path / "peaks.json"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_note, args=(path, number)) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [PeakBook(path).of(f"m{number}").peak_bytes for number in range(2)] == [20, 20]
