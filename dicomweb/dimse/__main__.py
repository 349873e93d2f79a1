"""`python -m dicomweb.dimse`: the node alone, with the settings of the environment; Ctrl-C or SIGTERM stops
it. `--inherit FD`, for each of a supervisor's sockets, makes it one of several processes."""

from __future__ import annotations

import asyncio
import signal
import sys

from dicomweb.dimse.lines import Lines
from dicomweb.dimse.processes import Plan, run
from fhir_server.logs import log_to_stderr
from fhir_server.settings import load


def _listening(lines: Lines) -> None:
    print(f"listening {lines.port}", file=sys.stdout, flush=True)


async def main(arguments: list[str]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    settings = load()
    log_to_stderr(settings)
    inherit = tuple(int(one) for one in arguments[1::2])
    plan = Plan((sys.executable, "-m", "dicomweb.dimse"), settings.dimse_processes, inherit)
    await run(settings, plan, stop, _listening)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
