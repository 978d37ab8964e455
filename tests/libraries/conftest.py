"""The array libraries that are installed here, one after another."""

import importlib
from types import SimpleNamespace

import numpy as np
import pytest

import fcbackends as fcb

MODULES = {
    "array_api_strict": "array_api_strict",
    "torch": "torch",
    "jax": "jax.numpy",
    "dask": "dask.array",
}


def _mapped(function, values):
    if isinstance(values, (tuple, list)):
        return tuple(_mapped(function, value) for value in values)
    return function(values)


def library_of(name, module):
    def made(a):
        if name == "dask":
            # Blocks of two, that do not fit each other either.
            return module.from_array(np.asarray(a), chunks=2)
        return module.asarray(np.array(a))

    def plain(array):
        assert type(array) is type(made(np.zeros(1))), f"{type(array)} is not of {name}"
        return np.asarray(array)

    return SimpleNamespace(
        name=name,
        module=module,
        make=lambda values: _mapped(made, values),
        plain=lambda values: _mapped(plain, values),
        spice=0.0 if name == "jax" else 0.2,  # JAX takes subnormals for zeros
        backend=fcb.get_backend(name),
    )


@pytest.fixture
def x64():
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", before)


@pytest.fixture(params=MODULES)
def library(request):
    if request.param == "jax":
        request.getfixturevalue("x64")
    pytest.importorskip(MODULES[request.param])
    return library_of(request.param, importlib.import_module(MODULES[request.param]))
