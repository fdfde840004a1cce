"""Results with everything that is known of them, to and from files of four formats, with nothing lost.

>>> from ase_comformer.records import read_records, records_of, write_records
"""

from ase_comformer.records.files import FORMATS, read_records, write_records
from ase_comformer.records.record import PropertyValue, ResultRecord, records_of

__all__ = ["FORMATS", "PropertyValue", "ResultRecord", "read_records", "records_of", "write_records"]
