"""Puts recipes and the parts of a page into the package when it is built; all else stands in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["adamae", "adamae.*"]), "adamae.configs"],
    package_dir={"adamae.configs": "configs"},
    package_data={"adamae": ["py.typed"], "adamae.configs": ["*/*.yaml", "*/*.json"], "adamae.visualize": ["page/*"]},
)
