#!/usr/bin/env python3
"""Writes src/model/unicode_table.cc: the code points that the pre-tokenizers' \\p{L} and \\p{N} match.

    tools/generate_unicode_table.py > src/model/unicode_table.cc

The version of Unicode is that of the Python that runs this; it is named in the file that comes out.
"""
import sys
import unicodedata

CLASSES = {"L": "kLetterRanges", "N": "kNumberRanges"}


def ranges(major):
    """Inclusive [first, last] runs of code points whose general category starts with `major`."""
    runs = []
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code))[0] != major:
            continue
        if runs and runs[-1][1] == code - 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return runs


def main():
    print(f"// Written by tools/generate_unicode_table.py from Unicode {unicodedata.unidata_version}. Do not edit.")
    print('#include "model/unicode.h"\n')
    print("namespace sedge::model {\n")
    print("// clang-format off")
    for major, name in CLASSES.items():
        runs = ranges(major)
        print(f"const std::array<CodeRange, {len(runs)}> {name}Data = {{{{")
        for start in range(0, len(runs), 6):
            print("  " + " ".join(f"{{0x{a:05x}, 0x{b:05x}}}," for a, b in runs[start:start + 6]))
        print("}};")
        print(f"const std::span<const CodeRange> {name} = {name}Data;\n")
    print("// clang-format on")
    print("}  // namespace sedge::model")


main()
