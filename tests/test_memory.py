"""What the allocator is told."""

import subprocess
import sys
from textwrap import dedent

import pytest

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
