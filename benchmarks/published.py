"""Published numbers of the tables: a ``*`` follows those that could not be confirmed.

A number counts as confirmed where it was read in the source named or in a transcription of it (an abstract, a data
base, another project's table). The others are as commonly quoted: their sources are named, but were out of reach.
"""

#: Printed below every table with marked numbers.
NOT_CONFIRMED = "* not confirmed here: as commonly quoted, the source named was out of reach"


class Unconfirmed(float):
    """A published number that was not confirmed: formatted with a ``*`` behind it, otherwise a float.

    Examples:
        >>> f"{Unconfirmed(401):.0f} of {Unconfirmed(401) + 1:.0f}"
        '401* of 402'
    """

    def __format__(self, form: str) -> str:
        """The number as ``form`` says, and the mark."""
        return super().__format__(form) + "*"
