"""Image files written byte by byte, so that tests know what is in them without a decoder."""

import struct
import zlib

import numpy as np

SIZES = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B", 8: "h", 9: "i", 10: "ii", 11: "f"}


def directory(tags, start, order="<"):
    """Return a TIFF directory that begins at `start`: a dict from tag to (type, values)."""
    lines, behind = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        content = b"".join(struct.pack(order + SIZES[kind], *np.atleast_1d(value)) for value in values)
        if len(content) > 4:
            place = start + 6 + 12 * len(tags) + len(behind)
            behind += content + bytes(len(content) % 2)
            content = struct.pack(order + "I", place)
        lines += struct.pack(order + "HHI", tag, kind, len(values)) + content.ljust(4, b"\0")
    return struct.pack(order + "H", len(tags)) + lines + bytes(4) + behind


def exif(tags, order="<"):
    """Return EXIF data as it is in a JPEG."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    return b"Exif\0\0" + head + directory(tags, 8, order)


def tiff(width, height, strips, bits=8, photometric=1, samples=1, order="<", **tags):
    """Return a TIFF of these strips; further tags as `t284=(type, values)`."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order]
    places = [8 + sum(map(len, strips[:number])) for number in range(len(strips))]
    body = b"".join(strips)
    body += bytes(len(body) % 2)
    fields = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits] * samples),
        259: (3, [1]),
        262: (3, [photometric]),
        273: (4, places),
        277: (3, [samples]),
        278: (4, [height]),
        279: (4, [len(strip) for strip in strips]),
    }
    fields |= {int(name[1:]): value for name, value in tags.items()}
    start = 8 + len(body)
    return head + struct.pack(order + "I", start) + body + directory(fields, start, order)


def chunk(name, content, wrong=False):
    """Return a PNG chunk, with a wrong checksum if asked for."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content) ^ wrong)


def png(width, height, bits, colour, rows, *chunks, wrong=""):
    """Return a PNG of these rows of bytes, with further chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [
        chunk(b"IHDR", header, wrong == "IHDR"),
        *chunks,
        chunk(b"IDAT", pixels, wrong == "IDAT"),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _fixed(*values):
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _profile(space, pcs, kind, tags):
    at, table, data = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags:
        table += name + struct.pack(">II", at + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    head = struct.pack(">I", at + len(data)) + bytes(4) + b"\x02\x40\0\0" + kind + space + pcs
    head += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(*WHITE)
    return head.ljust(128, b"\0") + table + data


WHITE = (0.9642, 1, 0.8249)
"""D50, the white of profiles."""
DESCRIPTION = [
    (b"desc", b"desc\0\0\0\0" + struct.pack(">I", 8) + b"made up\0" + bytes(80)),
    (b"cprt", b"text\0\0\0\0none\0\0\0\0"),
    (b"wtpt", b"XYZ \0\0\0\0" + _fixed(*WHITE)),
]


def gamma_curve(gamma):
    """Return the curve of a power."""
    return b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)


SRGB_CURVE = b"para\0\0\0\0\0\3\0\0" + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
SRGB = np.array([(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)])
"""XYZ of red, green and blue, for a white of D50."""
DISPLAY_P3 = np.array([(0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)])
ADOBE_RGB = np.array([(0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)])


def rgb_profile(primaries, curve=SRGB_CURVE):
    """Return a profile of a screen with these primaries and this curve."""
    named = zip((b"r", b"g", b"b"), primaries, strict=True)
    tags = [
        tag for name, xyz in named for tag in ((name + b"XYZ", b"XYZ \0\0\0\0" + _fixed(*xyz)), (name + b"TRC", curve))
    ]
    return _profile(b"RGB ", b"XYZ ", b"mntr", DESCRIPTION + tags)


def grey_profile(gamma):
    """Return a profile of grey with the curve of a power."""
    return _profile(b"GRAY", b"XYZ ", b"mntr", [*DESCRIPTION, (b"kTRC", gamma_curve(gamma))])


def cmyk_profile(lab_of):
    """Return a profile of four inks whose 16 corners have the colours `lab_of(c, m, y, k)`."""
    corners = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    table = b""
    for corner in corners:
        lightness, a, b = lab_of(*corner)
        table += bytes(round(value) for value in (lightness * 2.55, a + 128, b + 128))
    line = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + line * 4 + table + line * 3
    return _profile(b"CMYK", b"Lab ", b"prtr", [*DESCRIPTION, (b"A2B0", lut)])


def decoded(levels):
    """Return linear light of sRGB levels in 0 to 255."""
    values = np.asarray(levels, float) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def encoded(light):
    """Return sRGB levels in 0 to 255 of linear light, clipped, not rounded."""
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def lab(levels):
    """Return CIELAB for a white of D50 of an sRGB colour in 0 to 255."""
    ratio = decoded(levels) @ SRGB / np.array(WHITE)
    cube = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return 116 * cube[1] - 16, 500 * (cube[0] - cube[1]), 200 * (cube[1] - cube[2])
