"""Partial differential equations: domains, Feynman-Kac labels, networks, losses. So far it is empty."""

if __name__ != "optsci.pinn":
    raise ImportError(f"this folder is the package optsci.pinn; `import {__name__}` would make a second copy")
