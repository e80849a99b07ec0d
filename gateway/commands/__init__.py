"""One file per command (group) of `hydragate`."""
