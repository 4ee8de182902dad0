"""What users see of several scales in one run."""

from astropy.io import fits
from small_pair import DYE, SAMPLE

from exo2micro import SampleDye
from exo2micro.raster.record import read_record
from exo2micro.subtraction.scale import SCALE_ESTIMATORS


def test_all_estimators_of_one_run_have_their_own_difference(done):
    run = SampleDye(SAMPLE, DYE, **done.dirs())
    run.set_params(extra_estimators="all", scale_percentile=50, manual_scale=18, planes="dq")
    result = run.run()
    names = [scale["name"] for scale in result["scales"]]
    assert names == ["moffat", "percentile", "manual", "robust_regression", "least_squares"]
    verdicts = {}
    assert {scale["name"] for scale in result["scales"]} <= set(SCALE_ESTIMATORS)
    for scale in result["scales"]:
        label = f"_{scale['label']}" if scale["label"] else ""
        stem = f"04_difference_difference{label}_sp50_msc18_xeall_pldq"
        header = fits.getheader(done.folder / "fits" / f"{stem}.fits")
        assert header["SCALE"] == scale["scale"]
        assert header["SCALELO"] <= scale["scale"] <= header["SCALEHI"]
        verdicts[scale["name"]] = header["VERDICT"]
        assert header["XE"] == "all"
        assert (done.folder / "tiff" / f"{stem}.tiff").exists()
    doubtful = {name for name, verdict in verdicts.items() if verdict != "PASS"}
    assert doubtful == {"manual", "least_squares"}, "each file tells its own verdict"
    assert result["verdict"] == "CHECK"
    assert "18 (manual) is 10 times the background's ratio" in result["reason"]
    assert "least squares" not in result["reason"], "it was asked for as a comparison"
    assert any(text.startswith("least_squares: ") for text in result["messages"])
    picture = result["diagnostics"]["scale_map"]
    assert picture.exists()
    record = read_record(
        done.folder / "records" / "04_difference_difference_sp50_msc18_xeall_pldq.json"
    )
    assert len(record.metrics["tile_scales"]["x"]) > 20
    assert record.metrics["scale_field"] is None
    assert record.metrics["psf_match"]["role"] == "none"
