"""`python -m simulators.modality --scenario FILE --exam ex01 --to 127.0.0.1:11112`: make an exam, send it."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from simulators.modality.exams import read_scenario, years_before
from simulators.modality.generate import generate
from simulators.modality.send import NotSent, send


@click.command()
@click.option("--scenario", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--exam", "ids", multiple=True, help="Exam id; several times; all when not given.")
@click.option(
    "--to", "target", default="127.0.0.1:11112", show_default=True, help="HOST:PORT; '' only makes files."
)
@click.option("--ae", default="TELEDOSSIER", show_default=True, help="The called AE title.")
@click.option("--earlier", type=int, default=0, help="Make an earlier exam of the same kind: years before.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), default=Path("var/exams"))
def main(scenario: Path, ids: tuple[str, ...], target: str, ae: str, earlier: int, folder: Path) -> None:
    """Make the demonstration's exams as DICOM files and send them by C-STORE."""
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    exams = read_scenario(scenario)
    if earlier:
        exams = {id: years_before(exam, earlier) for id, exam in exams.items()}
    unknown = set(ids) - set(exams)
    if unknown:
        raise click.UsageError(
            f"no such exam: {', '.join(sorted(unknown))}; known: {', '.join(sorted(exams))}"
        )
    host, _, port = target.rpartition(":")
    if target and not port.isdigit():
        raise click.UsageError("--to takes HOST:PORT")
    for id in ids or sorted(exams):
        files = generate(exams[id], folder / id)
        click.echo(f"{id}: {len(files)} files in {folder / id}")
        if target:
            try:
                sent = send(
                    folder / id, host, int(port), ae, calling=exams[id].site.upper()[:16] or "MODALITE"
                )
            except NotSent as error:
                raise click.ClickException(str(error)) from error
            click.echo(f"{id}: {sent} sent")


if __name__ == "__main__":
    main()
