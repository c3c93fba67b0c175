"""Write the table of published networks into docs/model-zoo.md, between its markers: parameters, MACs, papers' figures.

python tools/model_zoo.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from supernet.cli.command import bare_parser, run_program
from supernet.cli.profile import published_table
from supernet.errors import UserError
from supernet.io.files import write_atomically
from supernet.report.markdown import markdown_table

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "model-zoo.md"
BEGIN, END = "<!-- profile -->\n", "<!-- /profile -->\n"


def table_of(text: str) -> str:
    """The table that a document has between its markers.

    Raises:
        UserError: the document has no such markers.
    """
    before, begin, rest = text.partition(BEGIN)
    table, end, _ = rest.partition(END)
    if not begin or not end:
        raise UserError(f"no lines {BEGIN.strip()} and {END.strip()}: put them where the table belongs")
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, count, write the document."""
    command = bare_parser(__doc__, "  python tools/model_zoo.py")
    command.add_argument("--out", type=Path, default=DOCUMENT, metavar="FILE", help="the document (docs/model-zoo.md)")
    out = command.parse_args(arguments).out
    text = out.read_text(encoding="utf-8")
    old = table_of(text)
    new = markdown_table(published_table()) + "\n"
    write_atomically(out, text.replace(f"{BEGIN}{old}{END}", f"{BEGIN}{new}{END}"))
    print(out)


if __name__ == "__main__":
    run_program(main)
