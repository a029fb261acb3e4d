"Everything about the distribution is read from settings.ini, which nbdev reads too."
import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

config = ConfigParser()
config.read("settings.ini", encoding="utf-8")
settings = config["DEFAULT"]

# A package index shows the README away from the files that it links to.
readme = Path("README.md").read_text(encoding="utf-8")
for view, link in (("raw", r"(!\[[^]]*\]\()"), ("blob", r"(\]\()")):
    readme = re.sub(link + r"(?![a-z]+:|#)", rf"\1{settings['git_url']}/{view}/{settings['branch']}/", readme)

setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=readme,
    long_description_content_type="text/markdown",
    author=settings["author"],
    url=settings["git_url"],
    license="Apache-2.0",
    keywords=settings["keywords"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Mathematics",
    ],
    packages=[settings["lib_path"]],
    package_data={settings["lib_path"]: ["examples_data/*"]},
    python_requires=f">={settings['min_python']}",
    install_requires=settings["requirements"].split(),
    extras_require={"dev": settings["dev_requirements"].split()},
    entry_points={
        "console_scripts": settings["console_scripts"].split(),
        # lets nbdev turn names in backticks into links to their page
        "nbdev": [f"{settings['lib_path']}={settings['lib_path']}._modidx:d"],
    },
)
