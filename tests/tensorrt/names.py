"""Which names of TensorRT a source file uses, and in which versions each line can be reached."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from tests.tensorrt.surface import VERSIONS, parameters, surface

ALL = frozenset(VERSIONS)
ENDS = (ast.Return, ast.Raise, ast.Continue, ast.Break)
Answer = bool | None
"""What a test is in one version; None is not known."""


class Use(NamedTuple):
    """A dotted name, such as `IBuilderConfig.set_flag`, and the versions that get to it."""

    name: str
    line: int
    reach: frozenset[str]

    @property
    def lacking(self) -> list[str]:
        """The versions that get to it and have no such name."""
        return [v for v in VERSIONS if v in self.reach and not surface(v).has(self.name)]


@dataclass(kw_only=True)
class Reader:
    """Reads one file; `fields` are the annotated attributes of classes, by name."""

    fields: dict[str, str]
    answers: dict[str, ast.expr]
    """Functions that are one test of `has`: name to what they return."""
    guarded: bool
    """Whether `has` in this file narrows the versions."""
    uses: list[Use] = field(default_factory=list)
    literals: list[str] = field(default_factory=list)
    """Places where a number stands for an enum."""

    def read(self, tree: ast.Module) -> None:
        self._block(tree.body, ALL, {})

    def _block(
        self, body: Iterable[ast.stmt], reach: frozenset[str], scope: dict[str, str]
    ) -> frozenset[str]:
        """Read statements in order; the versions that get past the last one."""
        for statement in body:
            reach = self._statement(statement, reach, scope)
        return reach

    def _statement(
        self, statement: ast.stmt, reach: frozenset[str], scope: dict[str, str]
    ) -> frozenset[str]:
        if isinstance(statement, ast.If):
            self._expression(statement.test, reach, scope)
            yes = frozenset(v for v in reach if self._answer(statement.test, v) is not False)
            no = frozenset(v for v in reach if self._answer(statement.test, v) is not True)
            return self._block(statement.body, yes, scope) | self._block(
                statement.orelse, no, scope
            )
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            self._function(statement, reach, scope)
            return reach
        if isinstance(statement, ast.ClassDef):
            self._expressions(statement.bases, reach, scope)
            self._block(statement.body, reach, dict(scope))
            return reach
        self._learn(statement, scope)
        for child in ast.iter_child_nodes(statement):
            if isinstance(child, ast.expr):
                self._expression(child, reach, scope)
        for part in ("body", "handlers", "orelse", "finalbody", "items"):
            for child in getattr(statement, part, []):
                if isinstance(child, ast.stmt):
                    self._statement(child, reach, scope)
                else:
                    self._parts(child, reach, scope)
        self._assigned_number(statement, scope)
        return frozenset() if isinstance(statement, ENDS) else reach

    def _parts(self, node: ast.AST, reach: frozenset[str], scope: dict[str, str]) -> None:
        """The handlers of a `try` and the items of a `with`."""
        self._block(getattr(node, "body", []), reach, scope)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self._expression(child, reach, scope)

    def _function(
        self,
        function: ast.FunctionDef | ast.AsyncFunctionDef,
        reach: frozenset[str],
        scope: dict[str, str],
    ) -> None:
        inner, given = dict(scope), function.args
        for item in (*given.posonlyargs, *given.args, *given.kwonlyargs):
            inner.pop(item.arg, None)
            if found := annotated(item.annotation):
                inner[item.arg] = found
            if item.annotation is not None:
                self._expression(item.annotation, reach, scope)
        if function.returns is not None:
            self._expression(function.returns, reach, scope)
        self._block(function.body, reach, inner)

    def _expressions(
        self, nodes: Iterable[ast.expr], reach: frozenset[str], scope: dict[str, str]
    ) -> None:
        for node in nodes:
            self._expression(node, reach, scope)

    def _expression(self, node: ast.AST, reach: frozenset[str], scope: dict[str, str]) -> None:
        if isinstance(node, ast.IfExp):
            self._expression(node.test, reach, scope)
            yes = frozenset(v for v in reach if self._answer(node.test, v) is not False)
            no = frozenset(v for v in reach if self._answer(node.test, v) is not True)
            self._expression(node.body, yes, scope)
            self._expression(node.orelse, no, scope)
            return
        if isinstance(node, ast.BoolOp):
            goes_on = isinstance(node.op, ast.And)
            for value in node.values:
                self._expression(value, reach, scope)
                stops = frozenset(v for v in reach if self._answer(value, v) is not goes_on)
                known = frozenset(v for v in reach if self._answer(value, v) is not None)
                reach -= stops & known
            return
        if name := self._name(node, scope):
            self.uses.append(Use(name, node.lineno, reach))  # type: ignore[attr-defined]
        if isinstance(node, ast.Call):
            self._numbers(node, scope)
        for child in ast.iter_child_nodes(node):
            self._expression(child, reach, scope)

    def _name(self, node: ast.AST, scope: dict[str, str]) -> str:
        """The name of TensorRT that an expression is, "" for all others."""
        if not isinstance(node, ast.Attribute):
            return ""
        if isinstance(node.value, ast.Name) and node.value.id == "trt":
            return node.attr
        owner = self._name(node.value, scope)
        if owner and owner in _enums_and_classes():
            return f"{owner}.{node.attr}"
        if kind := self._type(node.value, scope):
            return "" if kind in _enums() else f"{kind}.{node.attr}"
        return ""

    def _type(self, node: ast.AST, scope: dict[str, str]) -> str:
        """The class of TensorRT that the value of an expression has, "" where it is not known."""
        if isinstance(node, ast.Name):
            return scope.get(node.id, "")
        if isinstance(node, ast.Attribute):
            name = self._name(node, scope)
            return _given(name) if name else self.fields.get(node.attr, "")
        if isinstance(node, ast.Call):
            name = self._name(node.func, scope)
            return name if name in _enums_and_classes() else _given(name)
        return ""

    def _learn(self, statement: ast.stmt, scope: dict[str, str]) -> None:
        """Remember what a local variable holds."""
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            scope.pop(statement.target.id, None)
            if found := annotated(statement.annotation):
                scope[statement.target.id] = found
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            found = self._type(statement.value, scope)
            scope.pop(statement.targets[0].id, None)
            if found:
                scope[statement.targets[0].id] = found

    def _numbers(self, node: ast.Call, scope: dict[str, str]) -> None:
        name = self._name(node.func, scope)
        if name in _enums() and any(isinstance(item, ast.Constant) for item in node.args):
            self.literals.append(f"line {node.lineno}: {name} of a number")
        for version in VERSIONS:
            owner, _, method = name.rpartition(".")
            known = surface(version).classes.get(owner)
            for signature in known.methods.get(method, ()) if known else ():
                for wanted, item in zip(parameters(signature), node.args, strict=False):
                    flags = wanted.kind in _enums() or wanted.name == "flags"
                    if flags and isinstance(item, ast.Constant) and item.value not in {0, None}:
                        self.literals.append(f"line {node.lineno}: {name}({item.value})")

    def _assigned_number(self, statement: ast.stmt, scope: dict[str, str]) -> None:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
            name = self._name(statement.targets[0], scope)
            if _given(name) in _enums() and isinstance(statement.value.value, int):
                self.literals.append(f"line {statement.lineno}: {name} = {statement.value.value}")

    def _answer(self, test: ast.expr, version: str) -> Answer:
        if not self.guarded:
            return None
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            found = self._answer(test.operand, version)
            return None if found is None else not found
        if isinstance(test, ast.BoolOp):
            decides = isinstance(test.op, ast.Or)
            answers = [self._answer(value, version) for value in test.values]
            if decides in answers:
                return decides
            return None if None in answers else not decides
        if not isinstance(test, ast.Call) or not isinstance(test.func, ast.Name):
            return None
        if test.func.id in self.answers:
            return self._answer(self.answers[test.func.id], version)
        asked = test.args[0] if test.args else None
        if test.func.id != "has" or not isinstance(asked, ast.Constant):
            return None
        return surface(version).has(str(asked.value))


def annotated(node: ast.expr | None) -> str:
    """The class that an annotation names: `trt.X`, `trt.X | None`, or a string with either."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return annotated(ast.parse(node.value, mode="eval").body)
    if isinstance(node, ast.BinOp):
        return annotated(node.left) or annotated(node.right)
    return ast.unparse(node)[4:] if node and ast.unparse(node).startswith("trt.") else ""


def fields_of(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Name and class of the annotated attributes: in a class body, or of `self`."""
    for node in ast.walk(tree):
        bodies = node.body if isinstance(node, ast.ClassDef) else []
        for item in (*bodies, node):
            if not isinstance(item, ast.AnnAssign) or not annotated(item.annotation):
                continue
            if isinstance(item.target, ast.Attribute):
                yield item.target.attr, annotated(item.annotation)
            elif item in bodies and isinstance(item.target, ast.Name):
                yield item.target.id, annotated(item.annotation)


def answers_of(tree: ast.Module) -> dict[str, ast.expr]:
    """The functions that do nothing but return a test."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and isinstance(node.body[-1], ast.Return):
            plain = len(node.body) == 1 or (
                len(node.body) == 2 and isinstance(node.body[0], ast.Expr)
            )
            if plain and node.name != "has" and node.body[-1].value is not None:
                found[node.name] = node.body[-1].value
    return found


@cache
def _given(name: str) -> str:
    """The class of a property, or of what a method returns; "" where that is nothing of ours."""
    owner, _, attribute = name.rpartition(".")
    for version in VERSIONS:
        known = surface(version).classes.get(owner)
        if known is None:
            continue
        found = known.properties.get(attribute, "").rpartition(" ")[0]
        if known.methods.get(attribute):
            found = known.methods[attribute][0].rpartition("-> ")[2]
        if found in _enums_and_classes():
            return found
    return ""


@cache
def _enums() -> set[str]:
    return {name for version in VERSIONS for name in surface(version).enums}


@cache
def _enums_and_classes() -> set[str]:
    return _enums() | {name for version in VERSIONS for name in surface(version).classes}
