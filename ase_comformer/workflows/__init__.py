"""What people do with a calculator: physics, potential and networks put together, one call per question."""
