"""What a policy did to campaigns and to innocents: tallied, scored and shown on one page."""
