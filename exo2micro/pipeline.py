"""SampleDye: the runner for one sample and dye."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from exo2micro.custom.run_code import CustomCode
from exo2micro.custom.step import FunctionStep, ResolvedStep
from exo2micro.defaults import STAGE_NAMES
from exo2micro.errors import ParameterError
from exo2micro.execution.borrowing import PARAMETER as BORROW_FROM
from exo2micro.execution.borrowing import lent_alignment, sibling_dye
from exo2micro.execution.cleaning import intermediates, remove_images
from exo2micro.execution.closing import close_run
from exo2micro.execution.comparison import Comparison, compare_variants
from exo2micro.execution.events import StageEvent
from exo2micro.execution.extras import (
    Extras,
    configured_steps,
    under_held_code,
)
from exo2micro.execution.hooks import hooks_of, stages_of
from exo2micro.execution.machine import available_cores
from exo2micro.execution.outlook import LooksAhead
from exo2micro.execution.parameters import (
    ParameterSet,
    TakesParameters,
    settings_from,
    under_own_settings,
)
from exo2micro.execution.pictures import draw_stale
from exo2micro.execution.plan import PlannedStage, Request
from exo2micro.execution.raw_input import (
    call_loader,
    channel_of,
    stamps_of_files,
    stamps_of_pixels,
)
from exo2micro.execution.results import (
    debug_results,
    result_of,
)
from exo2micro.execution.runner import StageRunner, forced_stages
from exo2micro.plotting.base import Diagnostic
from exo2micro.raster.checkpoint import CheckpointStore
from exo2micro.raster.lock import FolderLock
from exo2micro.raster.paths import EXTENSIONS, PairPaths
from exo2micro.raster.record import FileStamp, Record
from exo2micro.raw import load_image_pair
from exo2micro.stages.base import name_stage

_default_loader = load_image_pair
_MOST_THREADS = 8


class SampleDye(LooksAhead, TakesParameters):
    """One sample and dye: plans, runs the stages in order, asks diagnostics to draw.

    Nothing is created on disk before `run`.

    Parameters
    ----------
    sample, dye : str
        The pair; the raw files are sought in ``raw_dir/sample``.
    output_dir, raw_dir : path
        Folders of results and of raw files.
    checkpoint_format : {'tiff', 'fits', 'both'}, optional
        Format of intermediate images; the difference is always written as both. By default what
        the configuration files say, else tiff.
    threads : int, optional
        Threads to use, by default what the configuration files say, else one per core up to eight.
        No result depends on it.
    loader : callable, optional
        ``loader(sample, dye, raw_dir=...)`` that returns ``post, pre`` as arrays or rasters.
    diagnostics : sequence, optional
        Further diagnostics: functions ``(post_im, pre_im, sample, dye, save_path=None) -> Figure``
        or `Diagnostic` instances.
    params : mapping, optional
        Parameters as for `set_params`; or a `exo2micro.config.Snapshot`, which holds as it is.
        Else the configuration files are read, now and not again.
    stages : sequence of FunctionStep or str, optional
        Extra stages, as `add_stage` adds them; text as the command line takes it,
        ``denoise:after=3,sigma=2``.
    custom : CustomCode, optional
        Code to use instead of the store of custom functions, as worker processes are given it.

    Raises
    ------
    ParameterError
        For a name that is no folder name, an unknown format, a wrong parameter, or a configuration
        file that says what is not allowed.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init_subclass__(**kwargs)
        for number, (_, name) in hooks_of(cls).items():
            if number not in STAGE_NAMES:
                name_stage(number, name)

    def __init__(
        self,
        sample: str,
        dye: str,
        output_dir: str | os.PathLike[str] = "processed",
        raw_dir: str | os.PathLike[str] = "raw",
        checkpoint_format: str | None = None,
        *,
        threads: int | None = None,
        loader: Callable[..., Any] | None = None,
        diagnostics: Sequence[Callable[..., Any] | Diagnostic] = (),
        params: Mapping[str, Any] | None = None,
        stages: Sequence[FunctionStep | ResolvedStep | str] = (),
        custom: CustomCode | None = None,
    ) -> None:
        settings = settings_from(raw_dir, params, "run", "SampleDye(params)", (sample, dye))
        checkpoint_format = checkpoint_format or str(settings.option("checkpoint_format"))
        if checkpoint_format not in (*EXTENSIONS, "both"):
            msg = f"checkpoint_format must be tiff, fits or both, got {checkpoint_format!r}"
            raise ParameterError(msg)
        if threads is not None and threads < 1:
            msg = f"threads must be a whole number >= 1, got {threads}"
            raise ParameterError(msg)
        self.sample = sample
        self.dye = dye
        self.output_dir = Path(output_dir)
        self.raw_dir = Path(raw_dir)
        self.checkpoint_format = checkpoint_format
        wanted = threads or settings.option("threads")
        self.threads = wanted or min(_MOST_THREADS, available_cores())
        self._loader = loader
        self._store = CheckpointStore(PairPaths(self.output_dir, sample, dye))
        self._lock = FolderLock(self._store.paths.folder)
        self._parameters = ParameterSet(settings)
        self._results: dict[str, Any] = {}
        self._pair: Any = None
        self._active: StageRunner | None = None
        self._extras = Extras([*configured_steps(raw_dir, params), *stages], custom)
        self._diagnostics: list[Diagnostic] = []
        for diagnostic in diagnostics:
            self.add_diagnostic(diagnostic)

    def __repr__(self) -> str:
        named = [f"{n}={v!r}" for n, v in self.non_default_params().items()]
        named += [str(getattr(step, "step", step)) for step in self._extras.steps]
        changed = ", ".join(named)
        return f"SampleDye({self.sample!r}, {self.dye!r}{', ' + changed if changed else ''})"

    def add_diagnostic(
        self,
        diagnostic: Callable[..., Any] | Diagnostic,
        name: str | None = None,
        caption: str = "",
    ) -> None:
        """Add a user's own picture to this run.

        Parameters
        ----------
        diagnostic : callable or Diagnostic
            A function ``(post_im, pre_im, sample, dye, save_path=None)`` that returns a Figure;
            it gets overviews of at most 4 Mpx of post and finally aligned pre.
        name : str, optional
            Name of the picture; by default the function's name.
        caption : str, optional
            What it shows.
        """
        if isinstance(diagnostic, Diagnostic):
            self._diagnostics.append(diagnostic)
            return
        from exo2micro.plotting.user import diagnostic_from_function

        self._diagnostics.append(diagnostic_from_function(diagnostic, name=name, caption=caption))

    # Planning and running

    @under_own_settings
    @under_held_code
    def run(
        self,
        from_stage: int | None = None,
        to_stage: int | None = None,
        force: bool = False,
        force_run: bool = False,
        *,
        keep_failed: bool = False,
        keep: Literal["all", "final"] | None = None,
        memory_debug: bool = False,
        progress: Callable[[StageEvent], None] | None = None,
    ) -> dict[str, Any]:
        """Run the stages whose results are not valid, and draw the diagnostics.

        Parameters
        ----------
        from_stage : int, optional
            Compute this stage and all later ones anew.
        to_stage : int, optional
            Last stage to run.
        force : bool
            Compute all stages anew.
        force_run : bool
            Start even if the pre-flight check says that memory or disk will not do.
        keep_failed : bool
            Write a difference whose verdict is FAIL all the same, labelled ``failed``.
        keep : {'all', 'final'}, optional
            ``final``: remove the images before the difference in the end; all stays valid, and they
            are made again where they are needed. By default what the configuration files say.
        memory_debug : bool
            Log the memory of each stage: its peak, what is held after it, what is free.
        progress : callable, optional
            Called with a `StageEvent` at every step.

        Returns
        -------
        dict
            ``sample, dye, status, verdict, reason, scale_estimate, scale_interval, ...``

        Raises
        ------
        Exo2microError
            A typed error that names the file, the value, the cause and the next action.
        """
        started = time.perf_counter()
        tell = progress or (lambda _event: None)
        self._pair = None
        runner = self._new_runner(keep_failed=keep_failed)
        numbers = runner.numbers(to_stage)
        forced = forced_stages(numbers, from_stage, force=force)
        rows = runner.plan_all(numbers, forced)
        self._tell_of_mixed_formats(runner, rows)
        if any(row.action == "run" for row in rows):
            self._look_before(runner, rows, force_run=force_run)
            with self._lock.held():
                self._store.prepare()
                runner = self._new_runner(keep_failed=keep_failed)
                runner.memory_debug = memory_debug
                rows = self._run_stages(runner, numbers, forced, tell)
        else:
            for row in rows:
                tell(StageEvent(row.number, row.title, "cached", row.reason))
        self._results = debug_results(runner)
        pictures = draw_stale(runner, self._diagnostics, self._lock, tell)
        result = result_of(runner, rows, pictures)
        result |= close_run(runner, self._diagnostics, result, self.raw_dir, self._lock, tell)
        if (keep or self._parameters.snapshot().option("keep")) == "final":
            with self._lock.held():
                remove_images(runner, intermediates(runner))
        return result | {"seconds": time.perf_counter() - started}

    def compare(self, name: str, values: Sequence[Any]) -> Comparison:
        """Run the pair with several values of one parameter, side by side; see `sweep`."""
        return self.sweep({name: values})

    def sweep(
        self,
        grid: Mapping[str, Sequence[Any]],
        progress: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> Comparison:
        """Run the pair with all combinations of several values.

        Results of other settings stay as they are; each variant's files bear its suffix, and
        variants share the checkpoints of all stages that their values do not concern.

        Parameters
        ----------
        grid : mapping
            The values by parameter.
        progress : callable, optional
            Called with each row of the table as it comes.

        Returns
        -------
        Comparison
            One row per variant, and the path of a contact sheet with all differences.

        Raises
        ------
        ParameterError
            For an unknown name or a value that is not allowed; nothing is run then.
        """
        return compare_variants(self, self._copy_with, grid, progress)

    # Extension points for subclasses

    def _run_stage_1_padding(self, force: bool = False) -> None:
        self._run_stage(1, force)

    def _run_stage_2_coarse(self, force: bool = False) -> None:
        self._run_stage(2, force)

    def _run_stage_3_fine(self, force: bool = False) -> None:
        self._run_stage(3, force)

    def _run_stage_4_diagnostics(self, force: bool = False) -> None:
        self._run_stage(4, force)

    def _load_pair(self) -> Any:  # noqa: ANN401
        """Return the raw pair; override it to read from elsewhere."""
        options = {
            "raw_dir": self.raw_dir,
            "channel": channel_of(str(self._params["channel"])),
            "page": self._params["page"],
        }
        return call_loader(self._loader or load_image_pair, self.sample, self.dye, options)

    # Inner workings

    def _run_stage(self, number: int, force: bool = False) -> None:
        """Run one built-in stage if its result is not valid, or in any case."""
        with self._session() as runner:
            stage = runner.stages[number]
            if force or runner.plan(stage).action == "run":
                runner.execute(stage)

    def _run_stages(
        self,
        runner: StageRunner,
        numbers: Sequence[int],
        forced: Mapping[int, str],
        tell: Callable[[StageEvent], None],
    ) -> list[PlannedStage]:
        """Run what must be run; each stage is planned again once the ones before it are done."""
        hooks = hooks_of(type(self))
        rows = []
        self._active = runner
        try:
            for stage in runner.sequence(numbers):
                row = runner.plan(stage, forced)
                number = row.number
                if row.action == "run":
                    started = time.perf_counter()
                    tell(StageEvent(number, row.title, "start", row.reason))
                    hook = hooks[number][0] if number in hooks and row.position is None else ""
                    getattr(self, hook)(force=True) if hook else runner.execute(stage)
                    seconds = time.perf_counter() - started
                    tell(StageEvent(number, row.title, "done", row.reason, seconds))
                else:
                    tell(StageEvent(number, row.title, "cached", row.reason))
                rows.append(row)
        finally:
            self._active = None
            self._pair = None
        return rows

    def _new_request(self, *, keep_failed: bool = False, deep: bool = False) -> Request:
        sources = self._parameters.snapshot().sources()
        steps = self._extras.resolve().steps
        return Request(self.params, sources, keep_failed, deep, steps)

    def _new_runner(self, *, keep_failed: bool = False, deep: bool = False) -> StageRunner:
        request = self._new_request(keep_failed=keep_failed, deep=deep)
        stages, code = stages_of(type(self), SampleDye, self._store, request)
        return StageRunner(
            store=self._store,
            stages=stages,
            request=request,
            formats=self._formats(),
            threads=self.threads,
            load_pair=self._pair_once,
            raw_stamps=lambda known: self._raw_stamps(known, deep=deep),
            code=code,
            sibling=self._sibling(),
            custom=self._extras.resolve(),
        )

    def _sibling(self) -> Record | None:
        """Return the record of the alignment that another dye of the sample lends, if any."""
        word = self._params[BORROW_FROM]
        if word is None:
            return None
        dye = sibling_dye(str(word), self._store.paths, self.raw_dir)
        lender = self._copy_with({BORROW_FROM: None}, dye)
        return lent_alignment(lender._new_runner(), self.raw_dir)

    def _pair_once(self) -> Any:  # noqa: ANN401
        if self._pair is None:
            self._pair = self._load_pair()
        return self._pair

    def _raw_stamps(
        self, known: Mapping[str, FileStamp], *, deep: bool
    ) -> Callable[[], Mapping[str, FileStamp]]:
        loader = self._loader or load_image_pair
        plain = type(self)._load_pair is SampleDye._load_pair
        if plain and loader is _default_loader:
            return stamps_of_files(
                self.raw_dir, self.sample, self.dye, known, deep=deep, threads=self.threads
            )
        self._pair_once()  # a loader that fails is heard now
        name = getattr(loader, "__name__", "loader")
        return lambda: stamps_of_pixels(self._pair_once(), name)

    def _copy_with(self, changes: Mapping[str, Any], dye: str | None = None) -> "SampleDye":
        other = type(self)(
            self.sample,
            dye or self.dye,
            self.output_dir,
            self.raw_dir,
            self.checkpoint_format,
            threads=self.threads,
            loader=self._loader,
            diagnostics=self._diagnostics,
            params=self._parameters.snapshot(),
            stages=self._extras.steps,
            custom=self._extras.given,
        )
        other._parameters.override(changes, "variant")
        return other
