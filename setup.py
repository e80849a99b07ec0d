"""Maps the folder `gateway/` to the import name `hydragate` (docs/adr/0001-import-name.md)."""

from setuptools import find_packages, setup

setup(
    packages=["hydragate", *(f"hydragate.{name}" for name in find_packages("gateway"))],
    package_dir={"hydragate": "gateway"},
    package_data={
        "hydragate": [
            "py.typed",
            "stores/lua/*.lua",
            "adapters/geo/*.geo",
            "classifiers/models/*.json",
            "classifiers/models/*.html",
            "adapters/data_plane/*.lua",
            "adapters/verify/*.txt.gz",
            "adapters/verify/*.css",
            "console/browser/*.css",
            "policies/*.json",
            "policies/**/*.yaml",
            "policies/**/*.md",
            "loadtests/**/*.yaml",
            "loadtests/report/*.html",
            "loadtests/worlds/fitted/*.json",
            "loadtests/**/*.jsonl",
        ]
    },
)
