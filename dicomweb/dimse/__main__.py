"""`python -m dicomweb.dimse`: the node alone, with the settings of the environment; Ctrl-C or SIGTERM stops
it."""

from __future__ import annotations

import asyncio
import signal
import sys

from dicomweb.dimse.scp import serve
from fhir_server.settings import load


async def main() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await serve(load(), stop, ready=lambda port: print(f"listening {port}", file=sys.stdout, flush=True))


if __name__ == "__main__":
    asyncio.run(main())
