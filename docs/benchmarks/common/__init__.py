"""What the scripts beside this folder share. `make bench` runs those scripts, and nothing in here.

A script in ``docs/benchmarks/`` writes ``from common.files import save``: Python looks for modules in the folder of the
script that it runs.
"""
