"""The operations, to be counted by whoever runs this process: `python -m tests.bench.ops.count`.

Prints a line of JSON for each: its name and the CPU seconds it took, or why it cannot be done here. All
that is counted stands between two calls of getpgrp(2), which nothing else calls: callgrind can be told
to begin anew there.
"""

import argparse
import gc
import json
import os
import time

from tests.bench.ops.operations import CYCLE, OPERATIONS, Made

WARM: int = CYCLE
"""The interpreter has specialized its code, and caches are filled."""


def seconds(made: Made, times: int) -> float:
    """CPU that it takes to do it so often."""
    with made as operation:
        for _ in range(WARM):
            operation()
        gc.collect()
        gc.disable()
        os.getpgrp()
        began = time.process_time()
        for _ in range(times):
            operation()
        took = time.process_time() - began
        os.getpgrp()
        gc.enable()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=CYCLE)
    parser.add_argument("names", nargs="*", metavar="name")
    arguments = parser.parse_args()
    for name in arguments.names or OPERATIONS:
        try:
            line = {"name": name, "seconds": seconds(OPERATIONS[name](), arguments.times)}
        except Exception as error:  # noqa: BLE001 - another commit's code may lack whatever it needs
            line = {"name": name, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
