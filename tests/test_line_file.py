"""Lines of plain and compressed files: whatever was written before a kill, a cut or a full disk can be read."""

import gzip
import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wangraph import run
from wangraph.runtime.errors import UserError
from wangraph.runtime.observe import line_file
from wangraph.runtime.observe.line_file import LineWriter, read_lines
from wangraph.runtime.observe.records import Footer, read_trace

NAMES = ("lines", "lines.gz")
LINES = st.lists(st.binary(max_size=300).map(lambda text: text.replace(b"\n", b"") + b"\n"), max_size=20)


@given(st.lists(LINES, max_size=5), st.integers(1, 64))
def test_lines_are_read_as_they_were_written(tmp_path_factory, writes, chunk):
    folder = tmp_path_factory.mktemp("lines")
    for name in NAMES:
        writer = LineWriter(folder / name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(line_file, "_CHUNK", chunk)
            for number, lines in enumerate(writes):
                writer.write(b"".join(lines))
                until_now = [line for some in writes[: number + 1] for line in some]
                assert list(read_lines(folder / name)) == until_now  # while it is being written, too
            writer.close()
            assert list(read_lines(folder / name)) == [line for lines in writes for line in lines]


@pytest.mark.parametrize("name", NAMES)
def test_of_a_cut_file_all_whole_lines_are_read(tmp_path, name):
    path = tmp_path / name
    writer = LineWriter(path)
    whole = [b"%d times three is %d\n" % (n, 3 * n) for n in range(400)]
    for first in range(0, 400, 10):
        writer.write(b"".join(whole[first : first + 10]))
    writer.close()
    data = path.read_bytes()
    for size in range(0, len(data), 97):
        path.write_bytes(data[:size])
        lines = list(read_lines(path))
        assert all(line.endswith(b"\n") for line in lines[:-1])
        kept = [line for line in lines if line.endswith(b"\n")]
        assert kept == whole[: len(kept)]
        assert len(kept) >= 400 * size / len(data) - 40


def test_a_compressed_file_is_an_ordinary_one(tmp_path):
    path = tmp_path / "run.gz"
    writer = LineWriter(path)
    writer.write(b"one\ntwo\n")
    writer.close()
    assert gzip.decompress(path.read_bytes()) == b"one\ntwo\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_damage_is_told(tmp_path):
    path = tmp_path / "run.trace.gz"
    path.write_bytes(b"not packed at all\n")
    with pytest.raises(
        UserError, match=r"run\.trace\.gz: cannot be unpacked \(.*\): the file is damaged, record it again"
    ):
        list(read_lines(path))
    with pytest.raises(UserError, match=r"none\.gz: No such file or directory \(expected a trace\)"):
        list(read_lines(tmp_path / "none.gz"))


def test_a_line_of_gigabytes_in_a_small_file_is_refused(tmp_path):
    path = tmp_path / "bomb.gz"
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(80)) + packer.flush()
    path.write_bytes(packed)
    assert len(packed) < 100_000
    with pytest.raises(UserError, match=r"bomb\.gz: found a line of over 64 MB \(expected a trace\), record it again"):
        list(read_lines(path))


def test_a_compressed_trace_is_the_same_trace_and_a_fifth_as_large(tmp_path):
    kept = {}
    for name in ("run.trace", "run.trace.gz"):
        run("hello", units=100, clock="virtual", trace=tmp_path / name)
        kept[name] = [r for r in read_trace(tmp_path / name) if not isinstance(r, Footer)][1:]
    assert kept["run.trace"] == kept["run.trace.gz"]
    sizes = {name: os.path.getsize(tmp_path / name) for name in kept}
    assert sizes["run.trace.gz"] * 5 < sizes["run.trace"]
