"""`python -m simulators.modality --scenario FILE --exam ex01 --to 127.0.0.1:11112`: make an exam, send it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import click

from simulators.modality import performing
from simulators.modality.exams import Exam, read_scenario, years_before
from simulators.modality.generate import generate
from simulators.modality.performing import Commitments, Platform
from simulators.modality.send import NotSent, send


@click.command()
@click.option("--scenario", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--exam", "ids", multiple=True, help="Exam id; several times; all when not given.")
@click.option(
    "--to", "target", default="127.0.0.1:11112", show_default=True, help="HOST:PORT; '' only makes files."
)
@click.option("--ae", default="TELEDOSSIER", show_default=True, help="The called AE title.")
@click.option("--earlier", type=int, default=0, help="Make an earlier exam of the same kind: years before.")
@click.option("--patient", default="", help="Of this patient instead of the exam's own.")
@click.option(
    "--listen",
    type=click.IntRange(0, 65535),
    default=0,
    help="Work as a scanner does, with worklist, performed steps and storage commitment, and listen there.",
)
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), default=Path("var/exams"))
def main(
    scenario: Path,
    ids: tuple[str, ...],
    target: str,
    ae: str,
    earlier: int,
    patient: str,
    listen: int,
    folder: Path,
) -> None:
    """Make the demonstration's exams as DICOM files and send them by C-STORE."""
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    try:
        exams = read_scenario(scenario, patient)
    except KeyError as error:
        raise click.UsageError(f"no such patient: {patient}") from error
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
    answers = Commitments(listen) if listen and target else None
    try:
        for id in ids or sorted(exams):
            files = generate(exams[id], folder / id)
            click.echo(f"{id}: {len(files)} files in {folder / id}")
            if target:
                calling = exams[id].site.upper()[:16] or "MODALITE"
                _work(exams[id], files, Platform(host, int(port), ae, calling), answers)
    finally:
        if answers:
            answers.close()


def _work(exam: Exam, files: Sequence[Path], platform: Platform, answers: Commitments | None) -> None:
    """Send it; with `answers` as a scanner does, from the order to the commitment."""
    step = ""
    if answers:
        order = performing.scheduled(platform, exam)
        step = performing.begin(platform, exam, order)
        click.echo(f"{exam.id}: {'on the worklist' if order else 'not on the worklist'}")
    try:
        sent = send(files[0].parent, platform.host, platform.port, platform.ae, calling=platform.calling)
    except NotSent as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{exam.id}: {sent} sent")
    if step and performing.end(platform, step, files):
        click.echo(f"{exam.id}: step completed")
    if answers and (kept := performing.commit(platform, files, answers)):
        click.echo(f"{exam.id}: {kept[0]} kept, {kept[1]} not")


if __name__ == "__main__":
    main()
