"""How pybind11 behaves: its enums, its overloads, its refusal of wrong types and unknown names."""

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from tests.tensorrt.surface import Class, Parameter, Surface, parameters

NO_MATCH = object()


class Enum:
    """A value of an enum of pybind11: no int, never equal to one, and not to be ordered."""

    __members__: ClassVar[dict[str, "Enum"]] = {}
    _ordered = False

    def __init__(self, value: int) -> None:
        self._value = operator.index(value)

    @property
    def value(self) -> int:
        return self._value

    @property
    def name(self) -> str:
        found = [name for name, item in self.__members__.items() if item == self]
        return found[0] if found else "???"

    def __int__(self) -> int:
        return self._value

    __index__ = __hash__ = __int__

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._value == self._value  # type: ignore[attr-defined]

    def _order(self, other: object, compare: Callable[[int, int], bool]) -> bool:
        if not self._ordered or type(other) is not type(self):
            return NotImplemented
        return compare(self._value, other._value)  # type: ignore[attr-defined]

    def __lt__(self, other: object) -> bool:
        return self._order(other, operator.lt)

    def __le__(self, other: object) -> bool:
        return self._order(other, operator.le)

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    def __repr__(self) -> str:
        return f"<{self}: {self._value}>"


def enum(name: str, members: dict[str, int]) -> type[Enum]:
    """The class of the enum `name`; a severity can be ordered, all others cannot."""
    made = type(name, (Enum,), {"_ordered": name == "Severity"})
    made.__members__ = {member: made(value) for member, value in members.items()}
    for member, value in made.__members__.items():
        setattr(made, member, value)
    return made


class Dims:
    """A shape. Comparing it to another one is a TypeError, to a tuple or a list it is not."""

    MAX_DIMS = 8

    def __init__(self, shape: Sequence[int] = ()) -> None:
        self._values = tuple(operator.index(value) for value in shape)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, arg0: int | slice) -> object:
        return self._values[arg0]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, tuple | list):
            raise TypeError("__eq__(): incompatible function arguments")
        return self._values == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._values)


class Binding(type):
    """The metaclass of pybind11: a subclass must call the constructor of its base."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__call__(*args, **kwargs)
        if "_made" not in vars(made):
            raise TypeError(f"{cls.__mro__[1].__name__}.__init__() must be called when overriding")
        return made


class Object(metaclass=Binding):
    """What all bound classes have: attributes that are not declared cannot be set."""

    def __setattr__(self, name: str, value: object) -> None:
        bound = "_bound" in vars(type(self))
        if bound and name[0] != "_" and not isinstance(getattr(type(self), name, None), property):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        super().__setattr__(name, value)


def bound_class(name: str, known: Class, made: type, bases: tuple[type, ...], module: Any) -> type:
    """The class `name` with the names that `known` lists, done by what `made` has of them."""
    own = {key: value for key, value in vars(made).items() if _is_private(key)}
    methods = {
        key: _method(name, key, signatures, vars(made).get(key), module)
        for key, signatures in known.methods.items()
    }
    properties = {
        key: _property(name, key, text, vars(made).get(key), module)
        for key, text in known.properties.items()
    }
    return Binding(name, bases, {**own, **methods, **properties, "_bound": True})


def fitting(kind: str, value: object, module: Any) -> Any:
    """`value` as a parameter of `kind` receives it; `NO_MATCH` where pybind11 refuses it."""
    if kind in SIMPLE:
        return SIMPLE[kind](value)
    if kind == "Dims":
        if isinstance(value, Dims):
            return Dims(tuple(value))  # type: ignore[arg-type]
        whole = isinstance(value, tuple | list) and all(_is_whole(item) for item in value)
        return Dims(value) if whole else NO_MATCH  # type: ignore[arg-type]
    if item := re.fullmatch(r"list\[(.*)\]", kind):
        if not isinstance(value, tuple | list):
            return NO_MATCH
        parts = [fitting(item[1], part, module) for part in value]
        return NO_MATCH if any(part is NO_MATCH for part in parts) else parts
    wanted: Any = module
    for part in kind.split("."):
        wanted = getattr(wanted, part, None)
    return value if isinstance(wanted, type) and isinstance(value, wanted) else NO_MATCH


def arguments(
    signature: str, args: tuple[Any, ...], kwargs: dict[str, Any], module: Any
) -> dict[str, Any] | None:
    """The parameters by name, those that were left out too; None where the call does not fit."""
    wanted = parameters(signature)
    names = [item.name for item in wanted]
    given = dict(zip(names, args, strict=False))
    if len(args) > len(wanted) or set(kwargs) - set(names) or set(kwargs) & set(given):
        return None
    given |= kwargs
    found = {}
    for item in wanted:
        if item.name not in given:
            if item.default is None:
                return None
            found[item.name] = _default(item, module)
            continue
        value = given[item.name]
        fits = value is None and item.default == "None"
        found[item.name] = None if fits else fitting(item.kind, value, module)
        if found[item.name] is NO_MATCH:
            return None
    return found


def returned(value: object) -> object:
    """`value`, with enums as objects of their own: `is` does not compare them."""
    if isinstance(value, Enum):
        return type(value)(value.value)
    return [returned(item) for item in value] if type(value) is list else value


def _method(
    owner: str, name: str, signatures: tuple[str, ...], made: Any, module: Any
) -> Callable[..., Any]:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if name == "__init__" and not signatures:
            raise TypeError(f"tensorrt.{owner}: No constructor defined!")
        for signature in signatures if isinstance(self, Object) else ():
            found = arguments(signature, args, kwargs, module)
            if found is None:
                continue
            if made is None and name != "__init__":
                raise NotImplementedError(f"the fake TensorRT does not do {owner}.{name}")
            if name == "__init__":
                self._made = True
            return returned(made(self, **found)) if made else None
        raise TypeError(
            f"{name}(): incompatible function arguments. The following argument types are "
            f"supported: {signatures}. Invoked with: {args} {kwargs}"
        )

    call.__name__ = name
    return call


def _property(owner: str, name: str, text: str, made: Any, module: Any) -> property:
    kind, _, access = text.rpartition(" ")

    def get(self: Any) -> Any:
        if made is None:
            raise NotImplementedError(f"the fake TensorRT does not do {owner}.{name}")
        return returned(made.fget(self))

    def set_(self: Any, value: object) -> None:
        if made is None or made.fset is None:
            raise NotImplementedError(f"the fake TensorRT does not set {owner}.{name}")
        interface = kind[0] == "I" and kind in vars(module)
        taken = None if value is None and interface else fitting(kind, value, module)
        if taken is NO_MATCH:
            raise TypeError(f"(): incompatible function arguments: {owner}.{name} is {kind}")
        made.fset(self, taken)

    readable = made is None or made.fget is not None
    return property(get if readable else None, set_ if access == "rw" else None)


def _default(item: Parameter, module: Any) -> object:
    """The value of "0", "None", "False" or "<DataType.FLOAT: 0>"."""
    text = str(item.default)
    if value := re.fullmatch(r"<(\w+)\.(\w+): \d+>", text):
        owner: Any = module.ILogger if value[1] == "Severity" else module
        return getattr(getattr(owner, value[1]), value[2])
    return {"None": None, "True": True, "False": False}.get(text) if text[0] in "NTF" else int(text)


def _is_private(name: str) -> bool:
    return name[0] == "_" and name not in {"__dict__", "__weakref__", "__init__", "__module__"}


def _is_whole(value: object) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, Enum)


def _buffer(value: Any) -> object:
    try:
        memoryview(value)
    except TypeError:
        return NO_MATCH
    return value


def _only(*types: type) -> Callable[[object], object]:
    return lambda value: value if isinstance(value, types) else NO_MATCH


SIMPLE: dict[str, Callable[[Any], Any]] = {
    "int": lambda value: operator.index(value) if _is_whole(value) else NO_MATCH,
    "float": lambda value: float(value) if isinstance(value, int | float) else NO_MATCH,
    "bool": _only(bool),
    "str": _only(str),
    "tuple": lambda value: fitting("Dims", value, None) if isinstance(value, tuple) else NO_MATCH,
    "list": lambda value: fitting("Dims", value, None) if isinstance(value, list) else NO_MATCH,
    "slice": _only(slice),
    "buffer": _buffer,
    "object": lambda value: value,
    "capsule": lambda value: value,
}


def enums_of(found: Surface) -> dict[str, type[Enum]]:
    """The enums of a surface by name; the nested one goes by its last part."""
    return {name: enum(name.rpartition(".")[2], items) for name, items in found.enums.items()}
