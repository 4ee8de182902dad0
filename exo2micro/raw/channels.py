"""One channel for both images of a pair: the one that carries signal in both."""

from collections.abc import Sequence
from dataclasses import dataclass

from exo2micro.errors import ImageContentError, ParameterError
from exo2micro.raw.figures import ChannelFigures
from exo2micro.raw.image import COLOUR_NAMES

_SHARED_FRACTION = 0.2
"""Signal in another channel, relative to the strongest, from which on a warning is due."""

_SATURATED_FRACTION = 1e-3


@dataclass(frozen=True)
class ChannelChoice:
    """Which channel is used in both images, and why.

    Attributes
    ----------
    index : int
        0 to 2 for red, green and blue; 0 for grayscale.
    name : str
        ``red``, ``green``, ``blue`` or ``gray``.
    reason : str
        In words.
    post, pre : tuple of ChannelFigures
        Figures of every channel of each image.
    warnings : tuple of str
        What the user should know: signal left aside, saturation, images of different kinds.
    """

    index: int
    name: str
    reason: str
    post: tuple[ChannelFigures, ...]
    pre: tuple[ChannelFigures, ...]
    warnings: tuple[str, ...] = ()

    @property
    def post_index(self) -> int:
        """Channel of the post image: `index`, or 0 where that image is grayscale."""
        return self.index if len(self.post) > 1 else 0

    @property
    def pre_index(self) -> int:
        """Channel of the pre image: `index`, or 0 where that image is grayscale."""
        return self.index if len(self.pre) > 1 else 0


def choose_channel(
    post: Sequence[ChannelFigures],
    pre: Sequence[ChannelFigures],
    channel: int | str | None = None,
    source: str = "the pair",
) -> ChannelChoice:
    """Choose one channel for both images.

    In each image the signal of every channel (contrast beyond noise) is put in relation to the
    strongest. A channel scores the lesser of its two values; the best score is chosen, the first
    channel among equals. Where one image is grayscale, only the colour image decides.

    Parameters
    ----------
    post, pre : sequence of ChannelFigures
        Figures of every channel of each image.
    channel : int, str or None
        Override: 0, 1, 2, or ``red``, ``green``, ``blue``.
    source : str
        What the figures belong to, for messages.

    Returns
    -------
    ChannelChoice
        Index, name and reason.

    Raises
    ------
    ParameterError
        If `channel` is none of the allowed values, or the images have no such channel.
    ImageContentError
        If no colour channel carries signal in both images and none was given.
    """
    n_channels = max(len(post), len(pre))
    if channel is not None:
        index = _asked_channel(channel, n_channels)
        reason = f"asked for (channel={channel!r})"
    elif n_channels == 1:
        index, reason = 0, "the only channel of both images"
    else:
        index, reason = _best_channel(post, pre, source)
    name = COLOUR_NAMES[index] if n_channels > 1 else post[0].name
    warnings = _warnings(post, pre, index, name)
    if channel is not None and n_channels == 1 and channel not in {0, "gray"}:
        warnings = (f"channel={channel!r} has no effect: both images are grayscale", *warnings)
    return ChannelChoice(index, name, reason, tuple(post), tuple(pre), warnings)


def _asked_channel(channel: int | str, n_channels: int) -> int:
    """Return the index of the channel that was asked for."""
    if isinstance(channel, str) and channel.lower() in COLOUR_NAMES:
        index = COLOUR_NAMES.index(channel.lower())
    elif isinstance(channel, str) and channel.lower() == "gray" and n_channels == 1:
        index = 0
    elif not isinstance(channel, bool) and channel in range(len(COLOUR_NAMES)):
        index = int(channel)
    else:
        msg = (
            f"channel must be 0, 1, 2, 'red', 'green' or 'blue', got {channel!r}; leave it out to "
            "have the channel chosen that carries signal in both images"
        )
        raise ParameterError(msg)
    return index if n_channels > 1 else 0


def _best_channel(
    post: Sequence[ChannelFigures], pre: Sequence[ChannelFigures], source: str
) -> tuple[int, str]:
    """Return the channel that carries signal in both images, and the reason."""
    colour = [figures for figures in (post, pre) if len(figures) > 1]
    relative = [_relative_signals(figures) for figures in colour]
    scores = [min(values) for values in zip(*relative, strict=True)]
    index = max(range(len(scores)), key=lambda c: (scores[c], sum(r[c] for r in relative), -c))
    if scores[index] == 0.0:
        msg = (
            f"no colour channel of {source} carries signal in both images: "
            f"post has {_percentages(post)}, pre has {_percentages(pre)} of its strongest; are "
            "these two scans of one sample with one filter? If so choose with channel="
        )
        raise ImageContentError(msg)
    where = "both images" if len(colour) > 1 else "the colour image; the other is grayscale"
    if all(_same(f, figures[0]) for figures in colour for f in figures):
        return index, f"all channels of {where} are alike"
    return index, (
        f"carries signal in {where} (relative to the strongest channel: "
        f"post {_percentages(post)}; pre {_percentages(pre)})"
    )


def _relative_signals(figures: Sequence[ChannelFigures]) -> list[float]:
    """Return the signal of each channel relative to the strongest; 0 where there is none."""
    strongest = max(f.signal for f in figures)
    return [f.signal / strongest if f.has_signal else 0.0 for f in figures]


def _percentages(figures: Sequence[ChannelFigures]) -> str:
    """Return relative signals as text, such as ``red 2 %, green 100 %, blue 0 %``."""
    if len(figures) == 1:
        return figures[0].name
    values = _relative_signals(figures)
    return ", ".join(f"{f.name} {100 * v:.0f} %" for f, v in zip(figures, values, strict=True))


def _same(one: ChannelFigures, other: ChannelFigures) -> bool:
    """Tell whether two channels are copies of each other, as far as their figures show."""
    return (one.background, one.high, one.noise, one.minimum, one.maximum) == (
        other.background,
        other.high,
        other.noise,
        other.minimum,
        other.maximum,
    )


def _warnings(
    post: Sequence[ChannelFigures], pre: Sequence[ChannelFigures], index: int, name: str
) -> tuple[str, ...]:
    """Return what the user should know about a choice."""
    texts = []
    if len(post) != len(pre):
        gray, colour = ("post", "pre") if len(post) < len(pre) else ("pre", "post")
        texts.append(
            f"the {gray} image is grayscale, the {colour} image is colour: its {name} channel is "
            "compared with the grayscale image; check that both were scanned with one filter"
        )
    for role, figures in (("post", post), ("pre", pre)):
        used = figures[index if len(figures) > 1 else 0]
        if not used.has_signal:
            texts.append(f"the {name} channel of the {role} image shows no signal beyond noise")
        if used.saturated_fraction > _SATURATED_FRACTION:
            texts.append(
                f"{100 * used.saturated_fraction:.2g} % of the {role} image's pixels are "
                f"saturated at {used.maximum:g}; their brightness is a lower limit"
            )
        others = [
            f"{f.name} ({100 * value:.0f} %)"
            for f, value in zip(figures, _relative_signals(figures), strict=True)
            if f is not used and value >= _SHARED_FRACTION and not _same(f, used)
        ]
        if others:
            texts.append(
                f"the {role} image also carries signal in {' and '.join(others)} of its strongest "
                f"channel; only {name} is used"
            )
    return tuple(texts)
