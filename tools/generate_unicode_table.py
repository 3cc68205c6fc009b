#!/usr/bin/env python3
"""Writes src/model/unicode_table.cc: what kind of character each code point is, its lower case, and what it
decomposes to first. Tokenizers' expressions and BERT's normalizer ask for no more.

    python3.13 tools/generate_unicode_table.py > src/model/unicode_table.cc

The version of Unicode is that of the Python that runs this (3.13 has 15.1, which is what llama.cpp has); it is named in
the file that comes out.
"""
import sys
import unicodedata

CLASSES = {"L": "kLetter", "N": "kNumber", "M": "kMark", "P": "kPunctuation", "S": "kSymbol", "C": "kControl"}
# The White_Space property, which Python has no function for (str.isspace also has 0x1c to 0x1f).
SPACES = [*range(9, 14), 0x20, 0x85, 0xa0, 0x1680, *range(0x2000, 0x200b), 0x2028, 0x2029, 0x202f, 0x205f, 0x3000]


def kind(code):
    if code in SPACES:
        return "kSpace"
    category = unicodedata.category(chr(code))
    return "kOther" if category == "Cn" else CLASSES[category[0]]


def class_starts():
    """[first, kind] wherever the kind changes: each holds up to the next."""
    starts = []
    for code in range(sys.maxunicode + 1):
        if not starts or starts[-1][1] != kind(code):
            starts.append([code, kind(code)])
    return starts


def mapped(function):
    """[first, last, to] for all code points that `function` changes; neighbours with one image are one row."""
    rows = []
    for code in range(sys.maxunicode + 1):
        to = function(code)
        if to == code:
            continue
        if rows and rows[-1][1] == code - 1 and rows[-1][2] == to:
            rows[-1][1] = code
        else:
            rows.append([code, code, to])
    return rows


def print_rows(declaration, rows, a_line):
    print(declaration + "{{")
    for start in range(0, len(rows), a_line):
        print("  " + " ".join(rows[start:start + a_line]))
    print("}};")


def main():
    print(f"// Written by tools/generate_unicode_table.py from Unicode {unicodedata.unidata_version}. Do not edit.")
    print('#include <array>\n\n#include "model/unicode.h"\n')
    print("namespace sedge::model {\n")
    print("namespace {")
    print("using enum CharClass;")
    print("// clang-format off")
    starts = class_starts()
    print_rows(f"constexpr std::array<ClassStart, {len(starts)}> kStarts = ",
               [f"{{0x{first:05x}, {name}}}," for first, name in starts], 5)
    lower = mapped(lambda code: ord(chr(code).lower()[0]))
    first = mapped(lambda code: ord(unicodedata.normalize("NFD", chr(code))[0]))
    for name, rows in (("kLower", lower), ("kBase", first)):
        print_rows(f"\nconstexpr std::array<CodeMapping, {len(rows)}> {name} = ",
                   [f"{{0x{a:05x}, 0x{b:05x}, 0x{to:05x}}}," for a, b, to in rows], 4)
    print("// clang-format on")
    print("}  // namespace\n")
    print("const std::span<const ClassStart> kClassStarts = kStarts;")
    print("const std::span<const CodeMapping> kLowercase = kLower;")
    print("const std::span<const CodeMapping> kFirstOfDecomposition = kBase;\n")
    print("}  // namespace sedge::model")


main()
