"""`python -m turnout`: the command line, where the script `turnout` is not at hand."""

from turnout._cli import main

main()
