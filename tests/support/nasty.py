"""A corpus of nasty inputs: whole files as bytes, by name. What is right for each is said where it is used."""

import gzip
import json

COMBINING = "a" + "\u0301\u0323" * 20_000
ROW_SEPARATORS = "\u2028\u2029\x85"  # line ends to some, none of a file's rows

# Texts that are valid cells of a row.
TEXTS = {
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈",
    "combining marks": "a\u0301\u0323o\u0302",
    "right to left": "שלום\u200f\u202eمرحبا",
    "beyond the first plane": "𐍈𝒳𠮷",
    "replacement character": "a\ufffdb",
    "no characters": "\ufdd0\ufffe\uffff",
    "row separators": f"a{ROW_SEPARATORS}b",
    "zero width": "\u200b\u2060\ufeffx",
    "markup": "<script>alert(1)</script>&amp;\"'",
    "formula": "=HYPERLINK(1)",
    "path": "../../etc/passwd",
    "half of a surrogate pair, as text": "\\ud800",
}

# Rows that cannot be used, each with what is said of it: source and target in a line.
BAD_ROWS = {
    "NUL": (b"a\0\tb", "the source has the control character U+0000"),
    "lone surrogate": (b"\xed\xa0\x80\tb", "byte 1 is not UTF-8"),
    "overlong NUL": (b"a\tb\xc0\x80", "byte 4 is not UTF-8"),
    "Latin 1": (b"caf\xe9\tb", "byte 4 is not UTF-8"),
    "cut character": (b"a\tb\xf0\x9f\x98", "byte 4 is not UTF-8"),
    "lone carriage return": (b"a\tb\rc\td", "3 tab-separated columns"),
    "escape": (b"a\tb\x1b[31m", "the target has the control character U+001B"),
    "ten megabytes": (b"a\t" + b"b" * 10**7, "it has 1,048,576 bytes or more"),
    "ten megabytes of combining marks": (
        b"a\tb" + "\u0301\u0323".encode() * 2_500_000,
        "it has 1,048,576 bytes or more",
    ),
    "forty thousand combining marks": (f"a\t{COMBINING}".encode(), "it has more than 30 combining marks in a row"),
    "too long": (b"a\t" + b"b" * 1000, "the target has 1,000 symbols, prepare.max_symbols is 60"),
    "no target": (b"a", "1 tab-separated columns instead of 2"),
    "empty target": (b"a\t", "the target is empty"),
    "spaces alone": ("a\t \u3000".encode(), "the target is empty"),
    "empty row": (b"", "1 tab-separated columns instead of 2"),
    "trailing tab": (b"a\tb\t", "3 tab-separated columns instead of 2"),
    "UTF-16": ("a\tb".encode("utf-16-le"), "the source has the control character U+0000"),
}

# Files that cannot be read at all, or not to their end, with what is said; a name may ask for a packed file.
BAD_FILES = {
    "empty": ("pairs.tsv", b"", "has no usable row"),
    "byte order mark alone": ("pairs.tsv", b"\xef\xbb\xbf", "line 1: 1 tab-separated columns"),
    "UTF-16 with its mark": (
        "pairs.tsv",
        "a\tb\n".encode("utf-16"),
        "line 1: byte 1 is not UTF-8, but a file in UTF-16",
    ),
    "UTF-32 with its mark": ("pairs.tsv", "a\tb\n".encode("utf-32"), "line 1: byte 1 is not UTF-8"),
    "carriage returns alone": ("pairs.tsv", b"a\tb\rc\td\re\tf\r", "line 1: 4 tab-separated columns"),
    "named as packed, but not": ("pairs.tsv.gz", b"a\tb\n", "cannot be read: Not a gzipped file"),
    "packed and cut off": ("pairs.tsv.gz", gzip.compress(b"a\tb\n" * 99, mtime=0)[:-9], "cannot be read"),
    "packed and empty": ("pairs.tsv.gz", gzip.compress(b"", mtime=0), "has no usable row"),
    "nothing to unpack": ("pairs.tsv.gz", b"", "has no usable row"),
    "a bomb of zeros": (
        "pairs.tsv.gz",
        gzip.compress(b"\0" * 2**24) * 64,
        "it unpacks to more than 200 times its size",
    ),
}

# What somebody may send for a source, with what is said of it.
BAD_SOURCES = {
    "": "source 1 is empty",
    " \u3000": "source 1 is empty",
    "a\tb": "has a tab, line break or NUL in it",
    "a\0": "has a tab, line break or NUL in it",
    "\ud800": "has bytes in it that are not Unicode text",
    "a\udcff": "has bytes in it that are not Unicode text",
    COMBINING: "has more than 30 combining marks in a row",
}

SURROGATE_IN_JSON = json.dumps(["\ud800"])
