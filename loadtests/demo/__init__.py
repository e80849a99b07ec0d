"""`make demo`: a campaign among ordinary customers, over HTTP, through a real gateway."""
