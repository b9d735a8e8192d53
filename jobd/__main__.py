"""`python -m jobd` is the command `jobd`."""

from jobd.supervisor.cli import run

run()
