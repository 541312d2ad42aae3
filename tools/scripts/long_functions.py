#!/usr/bin/env python3
"""Lists the files with more than 500 lines and the functions with more than 80.

Usage: tools/scripts/long_functions.py [PATH ...]

A function begins at the line that opens its outermost brace inside namespaces, classes and structs, and ends at the
brace that closes it. Strings, characters and comments are removed before braces are counted. The exit status is 1 if
anything is listed.
"""
import re
import subprocess
import sys

FILE_LINES = 500
FUNCTION_LINES = 80


def without_text(code):
    """Blanks comments, strings and characters, keeping every newline."""
    pattern = r'R"(\w*)\((?:.|\n)*?\)\1"|//[^\n]*|/\*(?:.|\n)*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'(?!\w)'
    return re.sub(pattern, lambda m: re.sub(r"[^\n]", " ", m.group()), code)


def long_functions(code):
    """Yields (line, lines, heading) of every function that is too long."""
    code = without_text(code)
    braces, heading_from = [], 0  # for each open brace, whether it contains declarations
    start = None
    for i, c in enumerate(code):
        if c == "{":
            heading = code[heading_from:i].strip()
            last = heading.split(";")[-1]
            outer = all(braces)
            room = outer and re.search(r"\b(namespace|class|struct|union|enum|extern)\b[^()=]*$", last) is not None
            if outer and not room and start is None:
                start = (len(braces), code.count("\n", 0, heading_from + len(code[heading_from:i]) - len(code[heading_from:i].lstrip())) + 1, last)
            braces.append(room)
            heading_from = i + 1
        elif c == "}":
            if braces:
                braces.pop()
            if start is not None and len(braces) == start[0]:
                depth, line, heading = start
                lines = code.count("\n", 0, i) + 1 - line + 1
                if lines > FUNCTION_LINES:
                    yield line, lines, " ".join(heading.split())[:90]
                start = None
            heading_from = i + 1
        elif c == ";" and start is None:
            heading_from = i + 1


def main():
    names = subprocess.run(["git", "ls-files", "--", *(sys.argv[1:] or ["."])], capture_output=True, text=True, check=True)
    found = 0
    for name in names.stdout.split():
        if not re.search(r"\.(cc|h|cu|cuh|py|sh)$", name):
            continue
        with open(name, encoding="utf-8") as file:
            code = file.read()
        lines = code.count("\n")
        if lines > FILE_LINES:
            found += 1
            print(f"{name}: {lines} lines")
        if re.search(r"\.(cc|h|cu|cuh)$", name):
            for line, length, heading in long_functions(code):
                found += 1
                print(f"{name}:{line}: {length} lines: {heading}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
