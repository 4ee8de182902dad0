"""Reports of pairs that have been run, asked for by people."""

from collections.abc import Callable
from pathlib import Path

from exo2micro.census.pairs import command_of
from exo2micro.errors import CheckpointError
from exo2micro.execution.results import result_of
from exo2micro.pipeline import SampleDye
from exo2micro.report.after_run import report_run


def report_pair(run: SampleDye) -> Path:
    """Write the report of a finished pair, unless the one that is there still holds.

    Parameters
    ----------
    run : SampleDye
        A pair that has been run with the parameters that it has now.

    Returns
    -------
    Path
        The HTML file.

    Raises
    ------
    CheckpointError
        If a stage is not valid.
    """
    runner = run._new_runner()
    rows = runner.plan_all(runner.numbers(None), {})
    for row in rows:
        if row.action == "run":
            msg = (
                f"{run.sample}/{run.dye} has no valid result for these parameters: stage "
                f"{row.number} ({row.title}) {row.reason}; run it first: "
                f"{command_of(run, 'run')}"
            )
            raise CheckpointError(msg)
    result = result_of(runner, rows, {})
    return report_run(runner, run._diagnostics, result, run.raw_dir, run._lock.held)


def report_finished(
    output_dir: Path, pair_of: Callable[[str, str], SampleDye]
) -> list[tuple[str, str, str]]:
    """Bring the reports of all finished pairs up to date.

    Parameters
    ----------
    output_dir : Path
        Usually ``processed``.
    pair_of : callable
        Returns the pair of a sample and a dye with the parameters wanted.

    Returns
    -------
    list of tuple
        Sample, dye and reason of those for which there is none.
    """
    from exo2micro.census import finished_pairs

    missing = []
    for sample, dye in finished_pairs(output_dir):
        try:
            report_pair(pair_of(sample, dye))
        except CheckpointError as error:
            missing.append((sample, dye, str(error)))
    return missing
