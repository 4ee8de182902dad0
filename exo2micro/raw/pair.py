"""Loading the two images of a pair: one channel, checked, read by window."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exo2micro.errors import RawFileNotFoundError
from exo2micro.raw.channels import ChannelChoice, choose_channel
from exo2micro.raw.content import check_content, check_size
from exo2micro.raw.figures import ChannelFigures, measure_channels
from exo2micro.raw.image import ChannelRaster, PageChoice, RawImage
from exo2micro.raw.pairing import find_pair
from exo2micro.raw.readers import open_raw
from exo2micro.raw.suggest import did_you_mean

logger = logging.getLogger(__name__)

_SAME_PIXEL_SIZE = 0.01
"""Relative difference of pixel sizes from which on a warning is due."""


@dataclass(frozen=True)
class RawPair:
    """The post- and pre-stain image of one sample and dye.

    Unpacks as ``post, pre = pair``.

    Attributes
    ----------
    post, pre : ChannelRaster
        Single-channel rasters, shape ``(ny, nx)``, as stored: nothing scaled or clipped. Their
        `saturation` is that of the file or, where pixels pile up there, of the camera.
    post_path, pre_path : Path
        Their files.
    pixel_size_um : tuple of float or None
        ``(x, y)`` of the post image in micrometres, where its file tells it.
    channel : ChannelChoice
        The channel used in both, and why.
    warnings : tuple of str
        What the user should know.
    """

    post: ChannelRaster
    pre: ChannelRaster
    post_path: Path
    pre_path: Path
    pixel_size_um: tuple[float, float] | None
    channel: ChannelChoice
    warnings: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[ChannelRaster]:
        return iter((self.post, self.pre))

    def close(self) -> None:
        """Release both files."""
        self.post.image.close()
        self.pre.image.close()


def load_image_pair(
    sample: str,
    dye: str,
    raw_dir: str | Path = "raw",
    channel: int | str | None = None,
    page: PageChoice = None,
) -> RawPair:
    """Open the post- and pre-stain image of a sample and dye.

    No image is read as a whole: windows of both are looked at to choose the channel and to see
    that the images are usable.

    Parameters
    ----------
    sample : str
        Name of the folder in `raw_dir`.
    dye : str
        Name of the dye; case does not matter.
    raw_dir : str or Path
        Folder of the raw files.
    channel : int or str, optional
        Which colour channel: 0, 1, 2, or ``red``, ``green``, ``blue``. By default the one that
        carries signal in both images.
    page : int or str, optional
        Index or name of the page to read from files that hold several.

    Returns
    -------
    RawPair
        Both images, their paths, pixel size, the channel choice and warnings.

    Raises
    ------
    RawFileNotFoundError
        If the sample's folder or a file of the dye does not exist.
    RawPairingError
        If the files do not form exactly one pair.
    RawReadError
        If a file is damaged, unreadable, or of a layout that is not supported.
    RawPagesError
        If a file holds several images and `page` does not choose one.
    ImageContentError
        If an image is too small, blank, saturated or not finite, or no channel carries signal in
        both.
    ParameterError
        If `channel` is not one of the allowed values.
    """
    files = find_pair(sample_folder(raw_dir, sample), dye)
    post, pre = (open_raw(paths[0], page) for paths in (files.post, files.pre))
    choice = _choose_channel(post, pre, channel)
    rasters = post.channel(choice.post_index), pre.channel(choice.pre_index)
    used = choice.post[choice.post_index], choice.pre[choice.pre_index]
    _note_camera_limit(rasters, used)
    for raster, figures in zip(rasters, used, strict=True):
        if figures.is_suspicious:
            check_content(raster, _place_of(raster), raster.saturation)
    warnings = (*choice.warnings, *_image_warnings(post, pre))
    for text in warnings:
        logger.warning("%s %s: %s", sample, dye, text)
    logger.info("%s %s: channel %s, %s", sample, dye, choice.name, choice.reason)
    return RawPair(*rasters, post.path, pre.path, post.pixel_size_um, choice, warnings)


def sample_folder(raw_dir: str | Path, sample: str) -> Path:
    """Return the folder of a sample, or raise RawFileNotFoundError that suggests a name."""
    raw_dir = Path(raw_dir)
    if not raw_dir.is_dir():
        msg = (
            f"{raw_dir} is not a folder; make it, with one folder per sample in it, or say where "
            "the scans are with raw_dir="
        )
        raise RawFileNotFoundError(msg)
    folder = raw_dir / sample
    # The listing, because some systems find a folder by a name of other case, too.
    is_listed = sample in (path.name for path in raw_dir.iterdir())
    if sample.startswith(".") or not is_listed or not folder.is_dir():
        folders = (path for path in raw_dir.iterdir() if path.is_dir())
        names = sorted(path.name for path in folders if not path.name.startswith("."))
        known = ", ".join(names) or "none"
        hint = did_you_mean(sample, names)
        msg = f"no sample {sample!r} in {raw_dir}{hint}; samples there: {known}"
        raise RawFileNotFoundError(msg)
    return folder


def _choose_channel(post: RawImage, pre: RawImage, channel: int | str | None) -> ChannelChoice:
    """Measure both images and choose one channel; tiny and blank images are refused first."""
    for image in (post, pre):
        check_size(image.shape, image.path)
    figures = [measure_channels(image) for image in (post, pre)]
    for image, measured in zip((post, pre), figures, strict=True):
        _check_not_blank(image, measured)
    return choose_channel(figures[0], figures[1], channel, f"{post.path} and {pre.path}")


def _note_camera_limit(
    rasters: tuple[ChannelRaster, ChannelRaster], figures: tuple[ChannelFigures, ChannelFigures]
) -> None:
    """Give the images the limit of their camera where pixels pile up there.

    Both come from one camera: where only one of them reaches its limit, the other has the same.
    """
    limits = [f.maximum for f in figures if f.saturated_fraction > 0]
    is_one_camera = rasters[0].saturation == rasters[1].saturation
    for raster, own in zip(rasters, figures, strict=True):
        known = [own.maximum] if own.saturated_fraction > 0 else limits if is_one_camera else []
        if known and own.maximum <= known[0]:
            raster.saturation = known[0]


def _place_of(raster: ChannelRaster) -> str:
    """Return how messages call a channel: its file, and its name in a colour image."""
    image = raster.image
    if len(image.channel_names) == 1:
        return str(image.path)
    return f"the {image.channel_names[raster.index]} channel of {image.path}"


def _check_not_blank(image: RawImage, figures: tuple[ChannelFigures, ...]) -> None:
    """Say that an image is blank before its channels are compared."""
    if all(f.minimum == f.maximum for f in figures):
        for index in range(len(figures)):
            check_content(image.channel(index), image.path, image.saturation_level)


def _image_warnings(post: RawImage, pre: RawImage) -> tuple[str, ...]:
    """Return warnings that follow from the two files rather than from their channels."""
    texts = [
        f"{role} image: {note}" for role, i in (("post", post), ("pre", pre)) for note in i.notes
    ]
    if post.dtype != pre.dtype:
        texts.append(
            f"post is {post.dtype}, pre is {pre.dtype}: one scale cannot be expected near 1"
        )
    sizes = post.pixel_size_um, pre.pixel_size_um
    if sizes[0] is not None and sizes[1] is not None:
        if any(abs(a - b) > _SAME_PIXEL_SIZE * b for a, b in zip(sizes[0], sizes[1], strict=True)):
            texts.append(
                f"pixel sizes differ: post {_um(sizes[0])}, pre {_um(sizes[1])}; were both scanned "
                "with one objective?"
            )
    elif sizes != (None, None):
        role = "post" if sizes[1] is None else "pre"
        texts.append(f"only the {role} file tells its pixel size")
    return tuple(texts)


def _um(size: tuple[float, float]) -> str:
    """Return a pixel size as text."""
    return f"{size[0]:.4g} x {size[1]:.4g} um"
