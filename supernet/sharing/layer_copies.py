"""Copy torch's layers instead of constructing them, while a network is built on the meta device: several times as fast.

The constructor of a layer of ``torch.nn`` that has no children, such as ``Conv2d(16, 32, 3)``, is a function of its arguments
and of the default type. So the first such call constructs the layer, and the next one with the same arguments copies its
attributes and makes new tensors of the same shapes. All other code of a network's constructor runs as it is, each time: what
a network looks like never comes out of a cache. Constructed as usual is whatever is not certain to be such a function:
subclasses, arguments that are no plain numbers or strings, attributes that are no plain values, anything where torch's own
code was replaced.

Copied modules share one collection of no hooks. A constructor that adds one to it raises :class:`HookAdded`, and has to be
called again as usual.
"""

from __future__ import annotations

import gc
import marshal
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import RLock, get_ident
from typing import Any, NoReturn, cast

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

_NOT_COPIED = frozenset(
    {"Module", "Container", "Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict"}
)
_LAYERS: tuple[type[nn.Module], ...] = tuple(
    kind
    for kind in (getattr(nn.modules, name) for name in nn.modules.__all__ if name not in _NOT_COPIED)
    if isinstance(kind, type) and issubclass(kind, nn.Module)
)
_REGISTRATION_HOOKS = (
    torch_module._global_parameter_registration_hooks,
    torch_module._global_module_registration_hooks,
    torch_module._global_buffer_registration_hooks,
)
_PLAIN = frozenset({int, float, bool, str, type(None), torch.dtype})

Constructor = Callable[..., None]
Placeholders = tuple[tuple[str, type[Tensor], Tensor | None, bool], ...]


class HookAdded(BaseException):
    """A hook is registered with a copied module; no ``except Exception`` of a constructor is to hide it."""


class _NoHooks(OrderedDict[Any, Any]):
    """The hooks of all copied modules: there are none."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise HookAdded("a hook is registered while the network runs: register it when the network is built")

    __setitem__ = setdefault = update = __ior__ = _refuse

    def __copy__(self) -> OrderedDict[Any, Any]:
        return OrderedDict()

    def __deepcopy__(self, memo: Any) -> OrderedDict[Any, Any]:
        return OrderedDict()

    def __reduce__(self) -> Any:
        return OrderedDict, ()


_NO_HOOKS = _NoHooks()
_HOOKS = frozenset({OrderedDict, _NoHooks})
_EMPTY = _HOOKS | {dict, set, list}


class _Pattern:
    """What a constructor without children has put into a module: plain values, empty collections, tensors."""

    def __init__(self, module: nn.Module) -> None:
        attributes = dict(module.__dict__)
        self.parameters = _placeholders(attributes.pop("_parameters"))
        self.buffers = _placeholders(attributes.pop("_buffers"))
        self.transient: set[str] = attributes.pop("_non_persistent_buffers_set")
        hooks = {name: _NO_HOOKS for name, value in attributes.items() if type(value) in _HOOKS}
        self.shared = {name: value for name, value in attributes.items() if _is_plain(value)} | hooks
        self.empty = [(name, type(value)) for name, value in attributes.items() if name not in self.shared]

    def into(self, attributes: dict[str, Any]) -> None:
        """Put the same into the attributes of a new module."""
        attributes.update(self.shared)
        for name, kind in self.empty:
            attributes[name] = kind()
        attributes["_non_persistent_buffers_set"] = self.transient.copy()
        attributes["_parameters"] = _copies(self.parameters) if self.parameters else {}
        attributes["_buffers"] = _copies(self.buffers) if self.buffers else {}


def _placeholders(tensors: Mapping[str, Tensor | None]) -> Placeholders:
    """Per tensor its name, its class, one on the meta device that looks the same, and whether it wants a gradient."""
    return tuple(
        (name, Tensor, None, False) if tensor is None else (name, type(tensor), tensor.detach(), tensor.requires_grad)
        for name, tensor in tensors.items()
    )


def _copies(placeholders: Placeholders) -> dict[str, Tensor | None]:
    return {
        name: None if tensor is None else _tensor(kind, tensor, wanted) for name, kind, tensor, wanted in placeholders
    }


_tensor: Callable[..., Tensor] = Tensor._make_subclass  # which no function mode sees


def _is_plain(value: Any) -> bool:
    return type(value) in _PLAIN or (type(value) is tuple and all(map(_is_plain, value)))


def _is_pattern(module: nn.Module) -> bool:
    """Whether nothing but plain values, empty collections and ordinary tensors on the meta device is in a module."""
    attributes = dict(module.__dict__)
    parameters, buffers = attributes.pop("_parameters"), attributes.pop("_buffers")
    tensors = [tensor for tensor in (*parameters.values(), *buffers.values()) if tensor is not None]
    del attributes["_non_persistent_buffers_set"]
    return (
        all(_is_plain(value) or (type(value) in _EMPTY and not value) for value in attributes.values())
        and all(type(tensor) is nn.Parameter for tensor in parameters.values() if tensor is not None)
        and all(type(tensor) is Tensor for tensor in buffers.values() if tensor is not None)
        and all(tensor.is_meta and tensor.is_leaf for tensor in tensors)
        and len({id(tensor) for tensor in tensors}) == len(tensors)
    )


_BLANK = _Pattern(nn.Module())


def _constructor(kind: type[nn.Module]) -> Constructor:
    return cast(Constructor, getattr(kind, "__init__"))  # noqa: B009  # of the class, its own or inherited


def _is_torch(constructor: Any) -> bool:
    """Whether a constructor is torch's code, not what somebody has put in its place."""
    return str(getattr(constructor, "__globals__", {}).get("__name__", "")).startswith("torch.nn.")


def _may_be_children(names: Iterable[Any]) -> bool:
    """Whether a sequence may have children of these names."""
    return all(
        type(name) is str and name.isidentifier() and not name.startswith("_")
        and name not in _BLANK.shared and not hasattr(nn.Sequential, name)
        for name in names
    )  # fmt: skip


class _Copying:
    """The constructors that stand in for torch's own during :func:`copied_layers`."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.thread: int | None = None  # the one that builds; others construct as usual
        self.modes = 0  # function modes that are active outside of the network's constructor
        kinds = (*_LAYERS, nn.Module, nn.Sequential, nn.ModuleList)
        self.originals: dict[type[nn.Module], Constructor] = {
            kind: _constructor(kind) for kind in kinds if _is_torch(_constructor(kind))
        }
        self.copying: dict[type[nn.Module], Constructor] = {kind: self._of_layer(kind) for kind in _LAYERS}
        self.copying |= {
            nn.Module: self._of_module(),
            nn.Sequential: self._of_sequential(),
            nn.ModuleList: self._of_list(),
        }
        for kind, original in self.originals.items():
            self.copying[kind].__wrapped__ = original  # type: ignore[attr-defined]  # whose signature is seen
        self.replaced: dict[type[nn.Module], bool] = {}  # whether the class has a constructor of its own

    def begin(self) -> None:
        """Replace the constructors that are torch's own."""
        self.replaced = {
            kind: "__init__" in vars(kind) for kind, original in self.originals.items() if kind.__init__ is original
        }
        for kind in self.replaced:
            kind.__init__ = self.copying[kind]  # type: ignore[method-assign]
        self.thread, self.modes = get_ident(), torch._C._len_torch_function_stack()

    def end(self) -> None:
        """Put torch's own constructors back."""
        self.thread = None
        for kind, own in self.replaced.items():
            if own:
                kind.__init__ = self.originals[kind]  # type: ignore[method-assign]
            elif "__init__" in vars(kind):
                del kind.__init__

    def _of_layer(self, kind: type[nn.Module]) -> Constructor:
        original: Constructor = kind.__init__
        patterns: dict[Hashable, _Pattern | None] = {}

        def constructor(module: nn.Module, /, *args: Any, **kwargs: Any) -> None:
            usual = type(module) is not kind or self.thread != get_ident() or module.__dict__
            if usual or torch._C._len_torch_function_stack() != self.modes:
                return original(module, *args, **kwargs)
            try:
                key = marshal.dumps((args, kwargs), 2), torch.get_default_dtype()  # 1, 1.0 and True differ
            except ValueError:  # no plain values
                return original(module, *args, **kwargs)
            pattern = patterns.get(key)
            if pattern is not None:
                return pattern.into(module.__dict__)
            original(module, *args, **kwargs)
            if key not in patterns:
                plain = _is_plain(args) and all(map(_is_plain, kwargs.values()))
                patterns[key] = _Pattern(module) if plain and _is_pattern(module) else None
            return None

        return constructor

    def _of_module(self) -> Constructor:
        original = cast(Constructor, nn.Module.__init__)

        def constructor(module: nn.Module, /, *args: Any, **kwargs: Any) -> None:
            if args or kwargs or module.call_super_init or self.thread != get_ident():
                return original(module, *args, **kwargs)
            return _BLANK.into(module.__dict__)

        return constructor

    def _of_sequential(self) -> Constructor:
        original = cast(Constructor, nn.Sequential.__init__)

        def constructor(module: nn.Sequential, /, *args: Any) -> None:
            usual = type(module) is not nn.Sequential or self.thread != get_ident() or module.__dict__
            if usual:
                return original(module, *args)
            named = args[0] if len(args) == 1 and type(args[0]) is OrderedDict else None
            children = {str(index): child for index, child in enumerate(args)} if named is None else dict(named)
            modules = all(isinstance(child, nn.Module) for child in children.values())
            if not modules or not _may_be_children(named or ()):
                return original(module, *args)
            _BLANK.into(module.__dict__)
            module._modules = children
            return None

        return constructor

    def _of_list(self) -> Constructor:
        original = cast(Constructor, nn.ModuleList.__init__)

        def constructor(module: nn.ModuleList, modules: Iterable[nn.Module] | None = None) -> None:
            usual = type(module) is not nn.ModuleList or self.thread != get_ident() or module.__dict__
            if usual or not isinstance(modules, (list, tuple, Iterator)):
                return original(module, modules)
            _BLANK.into(module.__dict__)
            children = list(modules)
            if all(isinstance(child, nn.Module) for child in children):
                module._modules = {str(index): child for index, child in enumerate(children)}
            else:
                module.extend(children)  # which says what is wrong
            return None

        return constructor


_COPYING = _Copying()


@contextmanager
def copied_layers() -> Iterator[None]:
    """Copy layers whenever this thread constructs one like an earlier one; other threads construct as usual.

    Raises:
        HookAdded: when a hook is registered with a copied module.
    """
    with _COPYING.lock:
        if _COPYING.thread is not None or any(_REGISTRATION_HOOKS):
            yield  # within itself, or somebody wants to see what is registered
            return
        collecting = gc.isenabled()
        try:
            gc.disable()  # thousands of new objects set it off again and again
            _COPYING.begin()
            yield
        finally:
            _COPYING.end()
            if collecting:
                gc.enable()
