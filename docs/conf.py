"""How the site is built: `python -m sphinx -W -b html docs docs/_build/html`."""

import importlib.metadata
import os
import re
import tempfile
from pathlib import Path

from numpydoc.xref import DEFAULT_LINKS

import fcbackends

HERE = Path(__file__).parent

project = "fcbackends"
author = "The fcbackends developers"
copyright = author  # noqa: A001
version = release = importlib.metadata.version("fcbackends")

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
]
exclude_patterns = ["_build"]
# Formulas and command lines are no Python.
highlight_language = "none"
smartquotes = False
nitpicky = True

# --- pages --------------------------------------------------------------------------------------

myst_enable_extensions = ["attrs_inline"]
myst_heading_anchors = 4
# Cells run at each build, in the environment of the build, and an error in one ends it. What they
# leave beside their outputs goes with the build, and no settings of the user's own take part.
scratch = tempfile.TemporaryDirectory(prefix="docs-")
nb_execution_mode = "force"
nb_execution_timeout = 120
nb_execution_cache_path = scratch.name
nb_execution_raise_on_error = True
nb_merge_streams = True
os.environ["IPYTHONDIR"] = scratch.name
profile = Path(scratch.name, "profile_default")
profile.mkdir()
# A kernel warns that it talks over a local port, and may find its sockets closed when it ends. What
# fails in a cell ends the build all the same.
Path(profile, "ipython_kernel_config.py").write_text(
    "import logging\n"
    "logging.getLogger('tornado').setLevel(logging.CRITICAL)\n"
    "c.IPKernelApp.log_level = logging.ERROR\n"
)
os.environ["MATPLOTLIBRC"] = str(HERE / "figures" / "matplotlibrc")
os.environ.pop("FCBACKENDS_BACKEND", None)
os.environ.pop("FCBACKENDS_ARITHMETIC", None)

# --- docstrings ---------------------------------------------------------------------------------

# A name in single backticks becomes a link where it is public, and stays code where it is not.
default_role = "py:obj"
nitpick_ignore_regex = [("py:obj", r"(?s).*")]
# The docstrings have the types, with shapes and dtypes.
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autosummary_generate = False
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
# Types are words, such as sequence and array; those that are names of something are links.
LINKED = ["bool", "float", "int", "str", "tuple", "ImportError", "KeyboardInterrupt", "OSError"]
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"
numpydoc_xref_aliases = (
    {word: word for word in DEFAULT_LINKS}
    | {name: f":obj:`{name} <python:{name}>`" for name in LINKED}
    | {name: f"fcbackends.{name}" for name in fcbackends.__all__}
)

# --- links to other projects --------------------------------------------------------------------

# A build asks nothing of the network, and is the same with and without one: the few names that
# are linked to stand in a small inventory of version 1, which is plain text.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", "inventories/python.inv"),
}

# --- looks --------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "fcbackends"
html_context = {"default_mode": "auto"}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
# Sections of one page have no sidebar.
html_sidebars = {"start": []}
html_theme_options = {
    # Nothing is fetched from anywhere: no switcher of versions, no icons of other hosts.
    "check_switcher": False,
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
    "header_links_before_dropdown": 6,
}

# Files beside this folder that are pages of the site, too: on a code host their links are right as
# they are.
BESIDE = {
    "../SECURITY.md": "security.md",
    "../CHANGELOG.md": "changelog.md",
    "../CONTRIBUTING.md": "contributing.md",
    "../README.md#speed": "fast.md",
    "../README.md": "index.md",
}


def as_of_the_site(app, docname, source):
    """Links to files beside this folder lead to their pages; examples end with their last line."""
    for file, page in BESIDE.items():
        source[0] = re.sub(rf"\]\({re.escape(file)}(?=[)#])", f"]({page}", source[0])
    source[0] = re.sub(r"(^```python\n[^`]*?)\n+```$", r"\1\n```", source[0], flags=re.MULTILINE)


def with_its_language(app, pagename, templatename, context, doctree):
    """A page of another language says so, to browsers and to who reads it aloud."""
    if pagename == "notebook.zh":
        context["language"] = "zh-Hans"


def setup(app):
    """What Sphinx calls."""
    app.connect("source-read", as_of_the_site)
    app.connect("html-page-context", with_its_language)
    return {"parallel_read_safe": True}
