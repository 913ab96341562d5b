"""The nine artworks that emoji are drawn in: who made each, under which licence, and the package that holds it."""

from __future__ import annotations

from dataclasses import dataclass

from cdkit_data.npm import Tarball


@dataclass(frozen=True, slots=True)
class Style:
    """One way of drawing emoji. Styles of one family are redraws of one artwork, so a split never parts them."""

    name: str
    family: str
    en: str  # what a caption calls it
    zh: str
    licence: str  # SPDX
    author: str
    tarball: Tarball


NAMES = Tarball("emojibase-data@17.0.0", "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a")

STYLES = (
    Style(
        "twemoji", "twemoji", "twemoji", "twemoji ", "CC-BY-4.0", "Twitter, jdecked",
        Tarball("@iconify-json/twemoji@1.2.5", "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7"),
    ),
    Style(
        "noto", "noto", "noto", "noto ", "Apache-2.0", "Google",
        Tarball("@iconify-json/noto@1.2.9", "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad"),
    ),
    Style(
        "noto-v1", "noto-v1", "blob", "blob ", "Apache-2.0", "Google",
        Tarball("@iconify-json/noto-v1@1.2.5", "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37"),
    ),
    Style(
        "openmoji", "openmoji", "openmoji", "openmoji ", "CC-BY-SA-4.0", "OpenMoji",
        Tarball("@iconify-json/openmoji@1.2.29", "03181e2c156cab35cf4a62f1f7886bd971d59212e75ac3f189d5a4cae3930fc5"),
    ),
    Style(
        "fluent-flat", "fluent", "fluent flat", "fluent 平面", "MIT", "Microsoft",
        Tarball("@iconify-json/fluent-emoji-flat@1.2.6", "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175"),
    ),
    Style(
        "fluent-color", "fluent", "fluent color", "fluent 彩色", "MIT", "Microsoft",
        Tarball("@iconify-json/fluent-emoji@1.2.7", "8044210dbf11e016d4de85f15d01a243423bd832457e7e2491df1b751c0e272b"),
    ),
    Style(
        "fxemoji", "fxemoji", "firefox", "firefox ", "Apache-2.0", "Mozilla",
        Tarball("@iconify-json/fxemoji@1.2.2", "f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef"),
    ),
    Style(
        "emojitwo", "emojitwo", "emojitwo", "emojitwo ", "CC-BY-4.0", "EmojiTwo, EmojiOne 2",
        Tarball("@iconify-json/emojione@1.2.3", "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e"),
    ),
    Style(
        "fluent-3d", "fluent", "fluent 3d", "fluent 立体", "MIT", "Microsoft",
        Tarball("@lobehub/fluent-emoji-3d@1.1.0", "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58"),
    ),
)  # fmt: skip
BY_NAME = {style.name: style for style in STYLES}
TARBALLS = (NAMES, *(style.tarball for style in STYLES))
