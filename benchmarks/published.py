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


#: Where ``GMTNET_TABLE`` comes from; read in no copy of the paper here.
GMTNET_SOURCE = "Yan et al., ICML 2024 (arXiv:2406.12888), tables of results on JARVIS-DFT"
#: Property -> network -> Fnorm (unit of the property) and EwT 25, 10 and 5 (per cent of crystals).
GMTNET_TABLE: dict[str, dict[str, tuple[Unconfirmed, tuple[Unconfirmed, ...]]]] = {
    name: {network: (Unconfirmed(norm), tuple(map(Unconfirmed, within))) for network, (norm, within) in rows.items()}
    for name, rows in {
        "dielectric_tensor": {
            "MEGNet": (4.16, (74.9, 38.9, 19.1)),
            "ETGNN": (3.92, (81.3, 41.6, 23.8)),
            "GMTNet": (3.50, (84.5, 57.1, 27.8)),
        },
        "piezoelectric_tensor": {"GMTNet": (0.37, (49.1, 46.3, 45.7))},
        "elastic_tensor": {"GMTNet": (67.4, (66.1, 21.8, 7.7))},
    }.items()
}
#: Crystals of the curated sets of the same paper.
GMTNET_COUNTS = {
    "dielectric_tensor": Unconfirmed(4713),
    "piezoelectric_tensor": Unconfirmed(4998),
    "elastic_tensor": Unconfirmed(14220),
}
