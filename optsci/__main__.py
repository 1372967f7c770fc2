"""``python -m optsci``: the command line."""

from optsci.cli import app

if __name__ == "__main__":
    app(prog_name="python -m optsci")
