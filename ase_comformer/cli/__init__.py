"""The ``ase-comformer`` command line; ``application`` has its parts."""


def app() -> None:
    """Run the command line (the console script ``ase-comformer``)."""
    from ase_comformer.cli.application import application

    application()
