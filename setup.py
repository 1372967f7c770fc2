"""Map the folders pinn/, compress/ and optim/ into the package optsci; all else stands in pyproject.toml."""

from setuptools import find_packages, setup

APPLICATIONS = ("pinn", "compress", "optim")

packages = find_packages(include=["optsci", "optsci.*"])
for name in APPLICATIONS:
    packages += [f"optsci.{found}" for found in find_packages(include=[name, f"{name}.*"])]
setup(packages=packages, package_dir={"optsci": "optsci", **{f"optsci.{name}": name for name in APPLICATIONS}})
