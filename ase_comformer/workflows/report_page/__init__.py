"""The page of a report: what is on it (``content``), what turns (``scenes``), its HTML (``html_page``, ``tables``)."""
