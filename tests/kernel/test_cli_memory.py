import logging

import pytest

from turnout._cli_memory import KEPT, LARGE, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, keep_freed_memory


class Library:
    """A C library that remembers what was set, or refuses it."""

    def __init__(self, *, takes: bool = True) -> None:
        self.set: dict[int, int] = {}
        self._takes = takes

    def mallopt(self, parameter: int, value: int) -> int:
        if self._takes:
            self.set[parameter] = value
        return int(self._takes)


@pytest.mark.parametrize("environ", [{}, {"MALLOC_ARENA_MAX": "2"}, {"GLIBC_TUNABLES": "glibc.rtld.nns=8"}])
def test_freed_memory_is_kept_unless_the_operator_says_otherwise(environ: dict[str, str]) -> None:
    library = Library()
    assert keep_freed_memory(environ, library)
    assert library.set == {M_MMAP_THRESHOLD: LARGE, M_TRIM_THRESHOLD: KEPT}


@pytest.mark.parametrize(
    "environ",
    [
        {"MALLOC_MMAP_THRESHOLD_": "131072"},
        {"MALLOC_TRIM_THRESHOLD_": "131072"},
        {"MALLOC_TOP_PAD_": "0"},
        {"GLIBC_TUNABLES": "glibc.rtld.nns=8:glibc.malloc.trim_threshold=131072"},
    ],
)
def test_what_the_operator_says_to_the_c_library_stands(environ: dict[str, str]) -> None:
    library = Library()
    assert not keep_freed_memory(environ, library)
    assert library.set == {}


def test_a_c_library_without_such_a_setting_is_left_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    assert not keep_freed_memory({}, object())
    assert caplog.records == []


def test_that_the_c_library_refuses_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert not keep_freed_memory({}, Library(takes=False))
    assert "gives freed memory back" in caplog.text
