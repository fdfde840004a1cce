"""Every property that the package knows, declared once (``registry``)."""
