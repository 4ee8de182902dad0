"""``exo2micro survey``: the raw files, how they pair up and which channel will be used."""

from pathlib import Path

import click

from exo2micro.cli import options
from exo2micro.cli.exits import ExitCode
from exo2micro.cli.terminal import Terminal


@click.command(
    epilog="""\b
Examples:
  exo2micro survey
  exo2micro survey --sample CD070 --json
  exo2micro survey --raw-dir /data/scans

\b
Exit code: 0 all pairs can be used, 3 some files or pairs cannot, 1 none can.
"""
)
@options.selection
@options.raw_dir
@options.speaking(logs_warnings=False)
def survey(
    terminal: Terminal, samples: tuple[str, ...], dyes: tuple[str, ...], raw_dir: Path
) -> int:
    """Say what the raw files hold: pairs, sizes, saturation and the channel that will be used.

    A few windows of each image are read. One channel is chosen for both images of a pair; to
    choose it yourself, set the parameter channel.
    """
    from exo2micro import diagnose_raw_layout, survey_raw_channels
    from exo2micro.custom.run_code import enrol_stored

    enrol_stored()
    found = survey_raw_channels(raw_dir, samples or None, dyes or None)
    layout = diagnose_raw_layout(raw_dir)
    problems = [p for p in layout.problems if not samples or p.sample in samples]
    document = {"pairs": found.to_dicts(), "layout": layout.to_dict()}
    lines = found.lines() or [f"no complete pair in {raw_dir}"]
    lines += [f"{p.sample or raw_dir}: {p.kind}\n  {p.text}" for p in problems]
    terminal.result(document, lambda: "\n".join(lines))
    usable = [row for row in found if not row.problem]
    if not usable:
        return ExitCode.ERROR
    return ExitCode.CHECK if problems or len(usable) < len(found) else ExitCode.PASS
