"""What the raw files hold: which channel will be used, and the numbers a user wants."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, overload

from exo2micro.errors import Exo2microError
from exo2micro.raw.discovery import discover_tasks
from exo2micro.raw.image import ChannelRaster, PageChoice
from exo2micro.raw.pair import RawPair, load_image_pair


@dataclass(frozen=True)
class SurveyRow:
    """One pair of the survey.

    Attributes
    ----------
    sample, dye : str
        The pair.
    channel : str
        Name of the channel that will be used; empty if there is a problem.
    reason : str
        Why that channel.
    post_file, pre_file : str
        File names.
    post_shape, pre_shape : tuple of int
        ``(ny, nx)``.
    post_dtype, pre_dtype : str
        Types of the pixels.
    n_channels : tuple of int
        Colour channels of post and pre.
    pixel_size_um : tuple of float or None
        ``(x, y)`` of the post image.
    post_saturated_fraction, pre_saturated_fraction : float
        Share of saturated pixels in the channel, from windows spread over the image.
    post_signal, pre_signal : float
        Contrast of the channel beyond noise, in counts.
    warnings : tuple of str
        What the user should know.
    problem : str
        Why the pair cannot be used; empty if it can.
    """

    sample: str
    dye: str
    channel: str = ""
    reason: str = ""
    post_file: str = ""
    pre_file: str = ""
    post_shape: tuple[int, int] = (0, 0)
    pre_shape: tuple[int, int] = (0, 0)
    post_dtype: str = ""
    pre_dtype: str = ""
    n_channels: tuple[int, int] = (0, 0)
    pixel_size_um: tuple[float, float] | None = None
    post_saturated_fraction: float = 0.0
    pre_saturated_fraction: float = 0.0
    post_signal: float = 0.0
    pre_signal: float = 0.0
    warnings: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Survey(Sequence[SurveyRow]):
    """The rows of a survey: a sequence that can be shown as text or handed to a program."""

    rows: tuple[SurveyRow, ...]

    @overload
    def __getitem__(self, index: int) -> SurveyRow: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[SurveyRow, ...]: ...

    def __getitem__(self, index: int | slice) -> SurveyRow | tuple[SurveyRow, ...]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[SurveyRow]:
        return iter(self.rows)

    def lines(self) -> list[str]:
        """Return the survey as lines of text, a few per pair."""
        return [line for row in self.rows for line in _row_lines(row)]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one plain dict per row, for JSON or a data frame."""
        return [asdict(row) for row in self.rows]

    def __str__(self) -> str:
        return "\n".join(self.lines())


def survey_raw_channels(
    raw_dir: str | Path = "raw",
    samples: Sequence[str] | None = None,
    dyes: Sequence[str] | None = None,
    channel: int | str | None = None,
    page: PageChoice = None,
) -> Survey:
    """Say for every pair which channel will be used and why, with the numbers behind it.

    Parameters
    ----------
    raw_dir : str or Path
        Folder of the raw files.
    samples, dyes : sequence of str, optional
        Only these.
    channel, page : int or str, optional
        As for `load_image_pair`.

    Returns
    -------
    Survey
        One row per complete pair, sorted. A pair that cannot be used has its `problem` set.

    Raises
    ------
    RawFileNotFoundError
        If `raw_dir` does not exist.
    """
    rows = []
    for sample, dye in discover_tasks(raw_dir, samples, dyes):
        try:
            pair = load_image_pair(sample, dye, raw_dir, channel, page)
        except Exo2microError as error:
            rows.append(SurveyRow(sample, dye, problem=str(error)))
        else:
            rows.append(_row(sample, dye, pair))
            pair.close()
    return Survey(tuple(rows))


def _row(sample: str, dye: str, pair: RawPair) -> SurveyRow:
    """Return the row of a usable pair."""
    choice = pair.channel
    post, pre = choice.post[choice.post_index], choice.pre[choice.pre_index]
    return SurveyRow(
        sample,
        dye,
        choice.name,
        choice.reason,
        pair.post_path.name,
        pair.pre_path.name,
        pair.post.shape,
        pair.pre.shape,
        _dtype(pair.post),
        _dtype(pair.pre),
        (len(choice.post), len(choice.pre)),
        pair.pixel_size_um,
        post.saturated_fraction,
        pre.saturated_fraction,
        post.signal,
        pre.signal,
        pair.warnings,
    )


def _dtype(raster: ChannelRaster) -> str:
    """Return the name of a raster's pixel type."""
    return str(raster.dtype)


def _row_lines(row: SurveyRow) -> list[str]:
    """Return one row as text."""
    head = f"{row.sample} {row.dye}"
    if row.problem:
        return [f"{head}: cannot be used", f"  {row.problem}"]
    size = "unknown"
    if row.pixel_size_um is not None:
        size = "{:.4g} x {:.4g} um".format(*row.pixel_size_um)
    lines = [f"{head}: {row.channel}, {row.reason}"]
    for role, name, shape, dtype, saturated in (
        ("post", row.post_file, row.post_shape, row.post_dtype, row.post_saturated_fraction),
        ("pre", row.pre_file, row.pre_shape, row.pre_dtype, row.pre_saturated_fraction),
    ):
        lines.append(
            f"  {role}: {name}, {shape[1]} x {shape[0]} px {dtype}, "
            f"{100 * saturated:.2g} % saturated"
        )
    lines.append(f"  pixel size: {size}")
    return lines + [f"  warning: {text}" for text in row.warnings]
