"""Every fact about a request that a policy may name: one file a topic, one function a signal."""
