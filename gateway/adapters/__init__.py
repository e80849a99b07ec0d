"""The surfaces: everything that speaks HTTP."""
