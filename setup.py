"""Everything about the package stands in setup.cfg, except that its settings files lie outside of it, in experiments/."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

EXPERIMENTS = Path("experiments")
INSTALLED = Path("supernet", "cli", "experiments")  # where supernet/cli/command.py looks for them


class BuildWithExperiments(build_py):
    """Puts the settings and architectures of experiments/ beside the command line."""

    def run(self) -> None:
        """Build the packages, then copy."""
        super().run()
        if self.editable_mode:  # the repository's own are found
            return
        for file in sorted(EXPERIMENTS.glob("*/*")):
            target = Path(self.build_lib, INSTALLED, file.relative_to(EXPERIMENTS))
            self.mkpath(str(target.parent))
            self.copy_file(str(file), str(target))


setup(cmdclass={"build_py": BuildWithExperiments})
