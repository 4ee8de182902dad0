"""The active layers are right in threads, in async code and in worker processes."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from configs import Camera, LazyCamera
from joblib import Parallel, delayed
from small_pair import DYE, SAMPLE

from exo2micro import DEFAULTS, SampleDye, run_batch
from exo2micro.config import (
    Layer,
    LazyPipelineConfig,
    active_layers,
    carrying_config,
    config_context,
    resolve_layers,
)
from exo2micro.raster.record import read_record
from exo2micro.raster.windows import map_ordered

BELOW = (
    Layer.of("batch", {"pad": 7, "boundary_width": 9}, "call"),
    Layer.of("run", {"boundary_width": 11, "manual_scale": 2.0}, "call"),
)


def seen(_=None) -> tuple:
    """Return what lazy configurations say here."""
    config = LazyPipelineConfig(scale_percentile=40)
    values = config.pad, config.boundary_width, config.manual_scale, config.scale_percentile
    return (*values, LazyCamera().gain)


@pytest.fixture
def parent():
    """Active layers, and what the parent sees under them."""
    with config_context(resolve_layers(BELOW), Camera(gain=4.0)):
        assert seen() == (7, 11, 2.0, 40.0, 4.0)
        yield seen()


def test_threads_of_a_pool_agree(parent):
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(carrying_config(seen), range(20))) == [parent] * 20
        assert list(pool.map(seen, range(4))) != [parent] * 4  # a pool knows nothing by itself


def test_threads_that_read_images_agree(parent):
    assert list(map_ordered(seen, range(20), 3)) == [parent] * 20


def test_threads_do_not_see_each_other():
    results = {}
    barrier = threading.Barrier(8)

    def work(number):
        with config_context(LazyPipelineConfig(pad=number)):
            barrier.wait()
            results[number] = LazyPipelineConfig().pad

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: n for n in range(8)}
    assert LazyPipelineConfig().pad == DEFAULTS["pad"]


def test_tasks_of_an_event_loop_agree_and_do_not_see_each_other(parent):
    async def own(number):
        with config_context(LazyPipelineConfig(pad=number)):
            await asyncio.sleep(0)
            return LazyPipelineConfig().pad

    async def main():
        inherited = await asyncio.gather(*(asyncio.to_thread(seen) for _ in range(3)))
        return inherited, await asyncio.gather(*map(own, range(8)))

    assert asyncio.run(main()) == ([parent] * 3, list(range(8)))


def test_loky_workers_agree(parent):
    assert Parallel(n_jobs=2)(delayed(carrying_config(seen))() for _ in range(4)) == [parent] * 4


def test_a_batch_in_workers_uses_the_snapshot_of_its_parent(finished, tmp_path):
    """The project file is broken once the batch has started; no worker reads it."""
    import shutil

    raw, output = tmp_path / "raw", tmp_path / "processed"
    shutil.copytree(finished.raw, raw)
    (tmp_path / "exo2micro.toml").write_text("pad = 60\n[batch]\nparallel = true\nn_workers = 2\n")
    snapshot = SampleDye(SAMPLE, DYE, output, raw)._parameters.snapshot()
    (tmp_path / "exo2micro.toml").write_text("broken")
    (result,) = run_batch(params=snapshot, output_dir=output, raw_dir=raw, to_stage=1)
    assert result["status"] == "complete"
    record = read_record(output / SAMPLE / DYE / "records" / "01_padded_post_pad60.json")
    assert record.params["pad"] == {
        "value": 60,
        "source": f"project file {tmp_path / 'exo2micro.toml'}:1",
        "stage": 1,
    }
    assert record.params["channel"]["source"] == "default"


def test_code_of_the_user_sees_the_settings_of_its_run(finished, tmp_path):
    seen_by = []

    class Curious(SampleDye):
        def _load_pair(self):
            seen_by.append(LazyPipelineConfig().pad)
            raise StopIteration

    run = Curious(SAMPLE, DYE, tmp_path, finished.raw, params={"pad": 61})
    with pytest.raises(StopIteration):
        run.run()
    assert set(seen_by) == {61}
    assert active_layers() == ()
