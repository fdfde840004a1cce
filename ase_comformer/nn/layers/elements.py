"""Element descriptors of the papers: CGCNN's 92-component vectors (Xie and Grossman, PRL 120, 145301, 2018).

Nine categories per element, each one-hot: group, period, electronegativity, covalent radius, valence electrons, first
ionisation energy, electron affinity, block, atomic volume (the last seven binned as in CGCNN's supplement). The table
holds the bin of each category as one character per category ("-": no bin) for Z = 1 to 100, the values of CGCNN's
MIT-licensed ``atom_init.json``. The default networks do not use it: they learn an embedding.
"""

from functools import lru_cache

import torch
from torch import Tensor

from ase_comformer.errors import UnknownElementError

#: Bins of the categories in the order of the docstring; they add up to 92.
CATEGORY_SIZES = (19, 7, 10, 10, 12, 10, 10, 4, 10)
DESCRIPTOR_SIZE = sum(CATEGORY_SIZES)
_CODE = "0123456789abcdefghi"
_TABLE = (
    "104006504 i0-019-06 111401503 213314000 d14224410 e15235610 f17246214 g18156614 h19167914 i1-178-14 "
    "121501505 222513-04 d23422512 e23433613 f24345514 g25355714 h27366915 i2-377-16 130700508 231612406 "
    "332522424 432433423 533443522 633453521 733463-21 833473421 933383521 a34393621 b333a3621 c334b4-22 "
    "d33422513 e34433613 f34444513 g35454714 h37365915 i3-476-17 140800509 241712407 342622425 442532524 "
    "543543523 644553522 744463522 844473622 945483622 a444b4522 b444a3622 c434b4-23 d43522414 e44533614 "
    "f44544615 g44454715 h46465916 i46475418 150900509 251711407 051612535 051612535 051611535 051612735 "
    "05-612-3- 051612-35 05-612536 051612-35 05-612635 052612535 052612-35 052612-35 052612634 05-612436 "
    "351621424 452533423 552543423 653453522 753463422 854474622 954484622 a54494722 b554a4722 c534b5-24 "
    "d53522514 e53533515 f53543515 g54554715 h5456481- i5-575-1- 16080050- 261711408 061711535 062612-35 "
    "062612-34 063612-33 062612-35 062612-3- 06-612-35 06-612-35 06-612-3- 06-612-3- 06-612-3- 06-612-3- "
)


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # what is kept may serve training later
def _descriptor_table(device: torch.device) -> Tensor:
    """(101, 92) float64, row Z; row 0 is zero."""
    rows = _TABLE.split()
    table = torch.zeros(len(rows) + 1, DESCRIPTOR_SIZE, dtype=torch.float64)
    for number, row in enumerate(rows, start=1):
        start = 0
        for code, size in zip(row, CATEGORY_SIZES, strict=True):
            if code != "-":
                table[number, start + _CODE.index(code)] = 1.0
            start += size
    return table.to(device)


def element_descriptors(numbers: Tensor) -> Tensor:
    """Descriptors (n, 92) float64 of atomic numbers (n,).

    Raises:
        UnknownElementError: outside Z = 1 to 100.
    """
    table = _descriptor_table(numbers.device)
    if numbers.numel() and (int(numbers.min()) < 1 or int(numbers.max()) >= len(table)):
        worst = [int(z) for z in numbers.unique() if not 1 <= int(z) < len(table)]
        raise UnknownElementError(f"no descriptor for atomic numbers {worst}; the CGCNN table covers 1 to 100")
    return table.index_select(0, numbers)


def element_count() -> int:
    """Largest atomic number in the table."""
    return len(_TABLE.split())
