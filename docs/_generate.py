"""Pages that are generated from the code, so that a number has one source."""

from pathlib import Path

import click

from exo2micro.cli.app import COMMANDS, app
from exo2micro.cli.names import describe_image
from exo2micro.cli.params import markdown_table
from exo2micro.defaults import PARAMETER_REGISTRY
from exo2micro.plotting import DIAGNOSTICS
from exo2micro.stages import STAGES
from exo2micro.subtraction.quality import header_cards


def write_pages(folder: Path) -> None:
    """Write all generated pages into `folder`; unchanged ones keep their time."""
    folder.mkdir(exist_ok=True)
    pages = {
        "parameters.md": parameters(),
        "stages.md": stages(),
        "cli.md": commands(),
        "diagnostics.md": diagnostics(),
        "quality.md": quality(),
    }
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def parameters() -> str:
    """Return one table per stage."""
    parts = []
    for number, stage in sorted(STAGES.items()):
        rows = {n: row for n, row in PARAMETER_REGISTRY.items() if row.stage == number}
        if rows:
            parts.append(f"## Stage {number}: {stage.title}\n\n{markdown_table(rows)}\n")
    return "\n".join(parts)


def stages() -> str:
    """Return the stages with the names of their images."""
    images = {
        1: ("post", "pre"),
        2: ("pre", "coarse_pre"),
        3: ("pre",),
        4: ("difference", "difference_percentile_p50", "difference_manual", "difference_failed"),
    }
    lines = ["| stage | title | file stem | what it is |", "|---|---|---|---|"]
    for number, stage in sorted(STAGES.items()):
        for name in images.get(number, ()):
            stem = f"`{number:02d}_{stage.stage_name}_{name}`"
            lines.append(f"| {number} | {stage.title} | {stem} | {describe_image(number, name)} |")
    return "\n".join(lines) + "\n"


def commands() -> str:
    """Return the help of every command as it is printed."""
    parts = []
    context = click.Context(app, info_name="exo2micro", max_content_width=90, terminal_width=90)
    parts.append(f"## exo2micro\n\n```text\n{app.get_help(context)}\n```\n")
    for name in COMMANDS:
        command = app.get_command(context, name)
        if command is not None:
            parts += _help("##", command, context, name)
    return "\n".join(parts)


def _help(heading: str, command: click.Command, parent: click.Context, name: str) -> list[str]:
    """Return the help of a command and of those below it."""
    context = click.Context(command, info_name=name, parent=parent, terminal_width=90)
    text = f"```text\n{command.get_help(context)}\n```\n"
    parts = [f"{heading} {context.command_path}\n\n{text}"]
    if isinstance(command, click.Group):
        for child, inner in command.commands.items():
            parts += _help(f"{heading}#", inner, context, child)
    return parts


def diagnostics() -> str:
    """Return the captions of all diagnostics."""
    parts = []
    for name, diagnostic in sorted(DIAGNOSTICS.items()):
        rows = (
            ("What it shows", diagnostic.shows),
            ("Good", diagnostic.good),
            ("Bad", diagnostic.bad),
            ("What to do", diagnostic.action),
        )
        lines = [f"{title}\n: {text}\n" for title, text in rows if text]
        parts.append("\n".join([f"## {name}\n", f"File: `{name}.png`\n", *lines]))
    return "\n".join(parts)


def quality() -> str:
    """Return the bits of the data quality plane."""
    lines = ["| bit value | FITS keyword | meaning |", "|---|---|---|"]
    lines += [f"| {value} | `{keyword}` | {text} |" for keyword, value, text in header_cards()]
    return "\n".join(lines) + "\n"
