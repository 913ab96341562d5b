"""Writes the seeds that fuzzing sets out from, `python tests/fuzz/seeds.py`: small and of every kind. Specs have those that ship."""
# ruff: noqa: E501  a table reads better whole

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save

HERE = Path(__file__).parent
HEADER = {
    "__metadata__": {"a": "b"},
    "bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    "weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [8, 24]},
}


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, format=kind, **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def images() -> dict[str, bytes]:
    small = Image.new("RGB", (4, 3), (200, 100, 50))
    clear = Image.new("RGBA", (3, 3), (0, 0, 0, 0))
    turned = Image.Exif()
    turned[0x0112] = 6
    header = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    return {
        "rgb.png": encoded(small, "PNG"),
        "grey16.png": encoded(Image.new("I;16", (3, 3), 30_000), "PNG"),
        "palette.png": encoded(small.convert("P"), "PNG", transparency=0),
        "rgba.png": encoded(clear, "PNG"),
        "la.png": encoded(clear.convert("LA"), "PNG"),
        "one.png": encoded(small.convert("1"), "PNG"),
        "text.png": header[:33] + chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a" * 99)) + chunk(b"IEND", b""),
        "bomb.png": header + chunk(b"IEND", b""),
        "moving.png": encoded(small, "PNG", save_all=True, append_images=[Image.new("RGB", (4, 3))]),
        "rgb.jpg": encoded(small, "JPEG", exif=turned),
        "cmyk.jpg": encoded(small.convert("CMYK"), "JPEG"),
        "progressive.jpg": encoded(small, "JPEG", progressive=True),
        "rgb.webp": encoded(small, "WEBP", lossless=True),
        "moving.webp": encoded(small, "WEBP", save_all=True, append_images=[Image.new("RGB", (4, 3))]),
        "rgb.bmp": encoded(small, "BMP"),
        "profile.png": encoded(small, "PNG", icc_profile=b"no profile"),
        "eps.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    }


def manifests() -> dict[str, bytes]:
    line = {"file_name": "a.png", "text": ["a cat", "猫"], "label": "cat", "split": "train"}
    files = {"backbone.safetensors": {"size": 3, "sha256": "0" * 64}}
    made = {"schema": 1, "step": 7, "spec": "abc", "files": files}
    return {
        "lines.jsonl": b"j" + json.dumps(line, ensure_ascii=False).encode() + b"\n\n" + json.dumps(line).encode(),
        "table.csv": 'cfile_name,text,label\r\na.png,"a, ""cat""",x\nb.png,猫,y\n'.encode(),
        "checkpoint.json": b"m" + json.dumps(made).encode(),
    }


def checkpoints() -> dict[str, bytes]:
    right = {"weight": torch.zeros(2, 2), "bias": torch.ones(2)}
    state = {"ledger": {"text": {"told": 3, "silent": 1}, "label": "unknown"}, "ema_updates": 4}
    return {
        "right": b"w" + save(right),
        "half": b"w" + save({key: value.half() for key, value in right.items()}),
        "bytes": b"w" + save({"weight": torch.zeros(2, 2, dtype=torch.uint8), "bias": torch.zeros(2, dtype=torch.bool)}),
        "none": b"w" + save({}),
        "header": b"h" + json.dumps(HEADER).encode(),
        "state": b"s" + json.dumps(state).encode(),
    }


def prompts() -> dict[str, bytes]:
    said = {
        "plain": "a cat\na dog", "weighted": "(red:1.3) [cat] \\(x\\) ((a))", "marks": "e\u0301\u0316", "family": "👩\u200d👩\u200d👧",
        "bidi": "\u202ecat\u202c", "escape": "\x1b[31m", "template": "{0.__class__} %s {{7*7}}", "path": "../../CON",
        "marks of tokenizers": "<s></s><|endoftext|>", "hangul": "한국어", "ligature": "ﬁ ﷺ", "windows": "a\r\nb\r\n",
    }  # fmt: skip
    return {name: text.encode() for name, text in said.items()} | {"latin": b"caf\xe9", "nul": b"a\0b", "half": b"\xed\xa0\x80"}


SEEDS: Mapping[str, Mapping[str, bytes]] = {
    "manifest": manifests(),
    "checkpoint": checkpoints(),
    "prompt": prompts(),
    "image": images(),
}

if __name__ == "__main__":
    for target, seeds in SEEDS.items():
        (HERE / "seeds" / target).mkdir(parents=True, exist_ok=True)
        for name, content in seeds.items():
            (HERE / "seeds" / target / name).write_bytes(content)
