"""`python -m cdkit`, and so `torchrun -m cdkit train …`: the `cdkit` command."""

from cdkit.cli.app import main

main()
