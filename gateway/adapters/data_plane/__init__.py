"""Surfaces where somebody else carries the traffic: Envoy (ext_authz) and nginx (auth_request).

They ask before they forward (`checks`), and tell afterwards what became of it (`reports`).
"""
