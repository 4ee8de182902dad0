"""``exo2micro batch``: many samples and dyes."""

import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exo2micro.cli import options
from exo2micro.cli.batch_cluster import on_cluster
from exo2micro.cli.batch_progress import showing_tasks
from exo2micro.cli.exits import ExitCode, exit_code_of_batch
from exo2micro.cli.terminal import Terminal

if TYPE_CHECKING:
    from exo2micro.batch import BatchResults


@click.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  exo2micro batch
  exo2micro batch --sample CD070 --sample CD071 --dye DAPI
  exo2micro batch --workers 4 --timeout 7200 --table tonight.csv
  exo2micro batch --overrides per_pair.csv --dry-run
  exo2micro batch --resume              go on after a crash or Ctrl-C
  exo2micro batch --retry-failed        run the pairs again that ended with an error
  exo2micro batch --resume --batch NAME go on with an earlier one; `batch status` names them
  exo2micro batch --where verdict=CHECK run those pairs of the latest batch
  exo2micro batch status                from another terminal, while it runs

\b
Exit code: the gravest of all pairs: 1 error or skipped, 4 FAIL, 3 CHECK, 0 PASS.
""",
)
@options.selection
@click.option(
    "--only", metavar="SAMPLE[/DYE]", multiple=True, help="Only these pairs; * and ? work."
)
@click.option(
    "--where",
    metavar="COLUMN=VALUE",
    multiple=True,
    help="Only pairs whose row in the latest batch's table matches, e.g. verdict=CHECK.",
)
@click.option("--resume", is_flag=True, help="Go on with the latest batch.")
@click.option("--retry-failed", is_flag=True, help="Go on, and run pairs with an error again.")
@options.batch_name
@click.option("--dry-run", is_flag=True, help="Show what would run and why; run nothing.")
@click.option(
    "--strict-dyes/--no-strict-dyes",
    default=True,
    show_default=True,
    help="Whether a sample or dye without any complete pair is an error before anything starts.",
)
@click.option("--parallel", is_flag=True, help="Work on several pairs at once.")
@click.option(
    "--workers",
    "n_workers",
    type=click.IntRange(min=1),
    help="How many at once; by default as cores and memory allow. Implies --parallel.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Run on the workers of a dask scheduler, e.g. tcp://10.0.0.1:8786; see the documentation.",
)
@click.option(
    "--timeout",
    "timeout_per_task",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End a pair that takes longer.",
)
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    help="How often a pair that ran out of memory is tried again, alone; by default once.",
)
@click.option(
    "--on-error",
    type=click.Choice(("continue", "stop")),
    help="What to do after an error; by default continue.",
)
@click.option(
    "--overrides",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV file with the columns sample, dye and parameters that differ.",
)
@click.option(
    "--table",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the table of results, as .csv or .ecsv.",
)
@options.settings
@options.extra_stages
@options.stages
@options.checkpoint_format
@options.folders
@options.speaking()
def batch(terminal: Terminal, **how: Any) -> int:  # noqa: ANN401
    """Run every complete pair of the raw folder, or a selection.

    Each pair runs in a process of its own: an error, a crash or a kill ends that pair only. What
    was done is in a journal in processed/_batches. A table of all pairs and a list of the problems
    come at the end.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return _inherit(how["output_dir"])
    resumes = how.pop("resume") or how["retry_failed"]
    if resumes:
        _refuse_new_options()
    elif how["name"] is not None:
        text = "--batch says which batch goes on: give --resume or --retry-failed, too"
        raise click.UsageError(text)
    if how.pop("dry_run"):
        return _dry_run(terminal, how, resumes=resumes)
    return _run(terminal, how, resumes=resumes)


def _inherit(output_dir: Path) -> int:
    """Let the folder given before ``status`` or ``stop`` hold for them; refuse other options."""
    context = click.get_current_context()
    for option in context.command.params:
        name = str(option.name)
        is_given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if is_given and name not in ("output_dir", "verbose", "quiet"):
            command = context.invoked_subcommand
            text = f"{option.opts[0]} means nothing before {command}; leave it out or put it behind"
            raise click.UsageError(text)
    context.default_map = {name: {"output_dir": output_dir} for name in ("status", "stop")}
    return ExitCode.PASS


def _run(terminal: Terminal, how: dict[str, Any], *, resumes: bool) -> int:
    from exo2micro.batch.results import checked_table_name

    table = how.pop("table")
    if table is not None:
        checked_table_name(table)
    try:
        results = _results(terminal, how, resumes=resumes)
    except KeyboardInterrupt as interrupt:
        raise click.Abort(*interrupt.args) from None
    code, problem = exit_code_of_batch(results), ""
    try:
        if table is not None:
            results.write(table)
    except OSError as error:
        code, problem = ExitCode.ERROR, f"the table is not written: {error}"
    terminal.result({"results": list(results), "exit_code": int(code)}, lambda: str(results))
    if problem:
        terminal.err.print(f"error: {problem}", soft_wrap=True)
    return code


def _results(terminal: Terminal, how: dict[str, Any], *, resumes: bool) -> "BatchResults":
    from exo2micro.batch import resume_batch, run_batch

    retry_failed, name = how.pop("retry_failed"), how.pop("name")
    parallel = bool(how.pop("parallel") or how["n_workers"] or how["scheduler"])
    with on_cluster(how.pop("scheduler")), showing_tasks(terminal) as progress:
        if resumes:
            return resume_batch(
                how["output_dir"],
                batch=name,
                retry_failed=retry_failed,
                parallel=True if parallel else None,
                n_workers=how["n_workers"],
                timeout_per_task=how["timeout_per_task"],
                progress=progress,
            )
        how["only"] = _matching(how.pop("where"), how)
        how["params"] = how.pop("settings")
        return run_batch(
            **_selection(how),
            **how,
            parallel=parallel or _configured_parallel(how["raw_dir"]),
            progress=progress,
        )


def _configured_parallel(raw_dir: Path) -> Any:  # noqa: ANN401
    """Return what the configuration files say; the command line isolates each pair in any case."""
    from exo2micro.config import resolve_config

    return resolve_config(raw_dir).option("parallel") or "subprocess"


_WHEN_RESUMING = {"resume", "retry_failed", "name", "dry_run", "parallel", "n_workers"} | {
    *("scheduler", "timeout_per_task", "table", "output_dir", "as_json", "verbose", "quiet")
}


def _refuse_new_options() -> None:
    """Raise if an option is given that a batch that goes on would not heed."""
    context = click.get_current_context()
    given = click.core.ParameterSource.COMMANDLINE
    for option in context.command.params:
        name = str(option.name)
        if name not in _WHEN_RESUMING and context.get_parameter_source(name) is given:
            text = (
                f"a batch goes on as it was started, so {option.opts[0]} would change nothing; "
                "leave it out, or start a new batch: what is valid is not computed again"
            )
            raise click.UsageError(text)


def _dry_run(terminal: Terminal, how: dict[str, Any], *, resumes: bool) -> int:
    from exo2micro.batch import plan_batch, plan_resumed

    if resumes:
        table = plan_resumed(how["output_dir"], batch=how["name"], retry_failed=how["retry_failed"])
    else:
        how["only"] = _matching(how.pop("where"), how)
        kept = ("output_dir", "raw_dir", "from_stage", "to_stage", "force", "checkpoint_format")
        table = plan_batch(
            **_selection(how),
            **{name: how[name] for name in (*kept, "overrides", "stages", "only", "strict_dyes")},
            params=how["settings"],
        )
    terminal.result({"plan": table.rows}, lambda: str(table))
    return ExitCode.PASS


def _selection(how: dict[str, Any]) -> dict[str, Any]:
    """Take samples and dyes out of the options; none given means all."""
    return {name: how.pop(name) or None for name in ("samples", "dyes")}


def _matching(where: Sequence[str], how: dict[str, Any]) -> tuple[str, ...]:
    """Return patterns of the pairs asked for; with ``--where``, those of the latest batch."""
    only: tuple[str, ...] = how["only"]
    if not where:
        return only
    from exo2micro.batch import Journal
    from exo2micro.batch.results import COLUMNS, row_of
    from exo2micro.batch.selection import matches

    rows = [row_of(result) for result in Journal.latest(how["output_dir"]).results.values()]
    rows = [r for r in rows if not only or any(matches((r["sample"], r["dye"]), o) for o in only)]
    for condition in where:
        column, _, pattern = condition.partition("=")
        if column not in COLUMNS:
            text = f"--where {condition}: the columns are {', '.join(COLUMNS)}"
            raise click.UsageError(text)
        there = sorted({str(row[column]) for row in rows})
        rows = [row for row in rows if fnmatch.fnmatchcase(str(row[column]), pattern)]
        if not rows:
            text = f"no pair of the latest batch has {' and '.join(where)}; {column} is one of "
            raise click.UsageError(text + (", ".join(there) or "none"))
    return tuple(f"{row['sample']}/{row['dye']}" for row in rows)


@batch.command()
@options.batch_name
@options.output_dir
@options.speaking()
def status(terminal: Terminal, output_dir: Path, name: str | None) -> int:
    """Show how far the latest batch is; works from another terminal while it runs."""
    from exo2micro.batch.overview import batch_status

    table = batch_status(output_dir, name)
    document = {"pairs": table.rows, "state": table.title, "remarks": table.footer.strip()}
    terminal.result(document, lambda: str(table))
    return ExitCode.PASS


@batch.command()
@options.batch_name
@options.output_dir
@options.speaking()
def stop(terminal: Terminal, output_dir: Path, name: str | None) -> int:
    """End the latest batch from another terminal; what was finished is kept."""
    from exo2micro.batch.overview import stop_batch

    terminal.say(stop_batch(output_dir, name))
    return ExitCode.PASS
