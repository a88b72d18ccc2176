"""Memory: what the allocator is told, when garbage is searched for, and what is never loaded."""

import subprocess
import sys
from textwrap import dedent

import pytest

from audiosocket_agent.memory import LONG_S, MANY_CALLS, Sweep

BIG_TWICE = dedent("""
    import ctypes, sys
    from audiosocket_agent import memory

    class Mallinfo(ctypes.Structure):
        _fields_ = [(name, ctypes.c_size_t) for name in (
            "arena", "ordblks", "smblks", "from_the_system", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]

    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = Mallinfo
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
    if sys.argv[1] == "told":
        assert memory.return_big_buffers()
    libc.free(libc.malloc(2 * memory.BIG_BYTES))
    before = libc.mallinfo2().from_the_system
    libc.malloc(2 * memory.BIG_BYTES)
    print(libc.mallinfo2().from_the_system - before)
""")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
@pytest.mark.parametrize(("told", "from_the_system"), [("told", 1), ("untold", 0)])
def test_a_big_buffer_is_the_systems_again_after_it_was_freed(
    told: str, from_the_system: int
) -> None:
    """Untold, the second of two comes from the heap."""
    run = [sys.executable, "-c", BIG_TWICE, told]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert int(done.stdout) == from_the_system


RINGS = dedent("""
    import gc
    from audiosocket_agent import memory

    class Ring:
        def __init__(self):
            self.self = self

    memory.begin_sweeping()
    searches = gc.get_stats()[2]["collections"]
    kept = [[] for _ in range(200_000)]
    before = gc.get_stats()[2]["collections"] - searches
    rings = [Ring() for _ in range(50_000)]
    del rings
    print(before, gc.isenabled(), gc.collect() >= 40_000)
""")


def test_however_much_there_is_it_is_searched_only_when_told() -> None:
    run = [sys.executable, "-c", RINGS]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "True", "True"]


def test_a_sweep_is_when_nobody_hears_it_or_after_many_calls() -> None:
    sweep = Sweep(0.0)
    assert not sweep.is_due(5.0, calls=0, ended=0)  # there is nothing to find
    assert not sweep.is_due(10.0, calls=1, ended=1)
    assert sweep.is_due(15.0, calls=0, ended=1)
    assert not sweep.is_due(20.0, calls=0, ended=1)
    assert not sweep.is_due(25.0, calls=20, ended=MANY_CALLS)
    assert sweep.is_due(30.0, calls=20, ended=1 + MANY_CALLS)
    assert not sweep.is_due(35.0, calls=20, ended=1 + MANY_CALLS)
    assert sweep.is_due(30.0 + LONG_S, calls=20, ended=2 + MANY_CALLS)


def test_a_service_is_without_what_it_has_no_use_for() -> None:
    code = """if True:
        import sys, audiosocket_agent.service
        print(sys.modules.keys() & {"sqlalchemy.orm", "rich"})
        import rich.console  # whoever has a use for it still may"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"
