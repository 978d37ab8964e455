"""The other end of `fcbackends.report.workers`: functions that are called on request.

It imports nothing of fcbackends: a worker may be given an older one.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any


def serve(*functions: Callable[..., Any]) -> None:
    """Answer until stdin ends: [name, arguments] a line by [result, error] a line.

    A result is what the function of that name returns, an error the type and text of what it
    raises. What functions print goes to stderr.
    """
    by_name = {function.__name__: function for function in functions}
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            name, arguments = json.loads(line)
            result = error = None
            try:
                result = by_name[name](**arguments)
            except Exception as raised:
                error = f"{type(raised).__name__}: {raised}"
            print(json.dumps([result, error]), file=answers, flush=True)
