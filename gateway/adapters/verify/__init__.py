"""The public side of verification: pages and their JSON, mail, providers' webhooks."""
