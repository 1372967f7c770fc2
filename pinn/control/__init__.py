"""Optimal control of partial differential equations, and inverse problems: nonsmooth, and with exact constraints."""
