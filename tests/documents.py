"""Read documents: their code blocks, and the commands in them."""

from __future__ import annotations

import re

from tests.commands import PROGRAMS

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
NAME = re.compile(r"python ([\w./]+\.py)|pose-supernet (\w+)")  # of a program, in prose


def blocks(text: str, *languages: str) -> list[str]:
    """The fenced blocks in one of the languages."""
    return [block for _, language, block in FENCE.findall(text) if language in languages]


def commands(text: str) -> list[str]:
    """The commands in fenced blocks, lines that end in a backslash joined to the next, and in inline code.

    A program that inline code names without an argument is no command.
    """
    lines = [
        line.strip() for block in blocks(text, "", "sh", "bash") for line in block.replace("\\\n", " ").splitlines()
    ]
    lines += [code for code in INLINE.findall(FENCE.sub("", text)) if not NAME.fullmatch(code)]
    return [line for line in lines if line.removeprefix(".venv/bin/").startswith(PROGRAMS)]
