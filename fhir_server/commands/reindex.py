"""`teledossier reindex`: what is stored becomes searchable by search parameters of one's own."""

from __future__ import annotations

import asyncio

import click

from fhir_server import opening, settings
from fhir_server.conformance import reindex


@click.command("reindex")
@click.argument("urls", nargs=-1)
@click.option(
    "--all", "everything", is_flag=True, help="By every parameter, as after a change of the program."
)
def command(urls: tuple[str, ...], everything: bool) -> None:
    """Index what is stored by the search parameters that are new or changed, or by those of these URLs
    again.

    A server that runs does the same by itself. Started again after an interruption, it goes on where it
    stopped.
    """
    if urls and everything:
        raise click.UsageError("give URLs or --all, not both")
    done = asyncio.run(_run(urls, everything=everything))
    click.echo(
        f"{done} search parameter{'' if done == 1 else 's'} indexed"
        if not everything
        else "everything indexed"
    )


async def _run(urls: tuple[str, ...], *, everything: bool) -> int:
    async with opening.opened(settings.load()) as platform:
        engine = platform.engine
        if everything:
            await reindex.run(engine, reindex.Target.everything(), _tell)
            return 0
        if urls:
            own = (await engine.held.current()).search_parameters.all
            unknown = sorted(set(urls) - {each.url for each in own})
            if unknown:
                raise click.ClickException(
                    f"no search parameter of one's own has the URL {', '.join(unknown)}"
                )
            await reindex.again(engine, [each for each in own if each.url in urls])
        return await reindex.catch_up(engine, _tell)


async def _tell(text: str) -> None:
    click.echo(f"\r{text}\033[K", nl=False, err=True)
